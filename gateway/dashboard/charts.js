// Pictures: the history of an account as lines, and the ladder's colours. No library.

const NS = "http://www.w3.org/2000/svg";
const SERIES = [["equity", 1], ["initial", 2], ["maintenance", 3]];

export function compact(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 1e9) return (value / 1e9).toFixed(2) + "b";
  if (size >= 1e6) return (value / 1e6).toFixed(2) + "m";
  if (size >= 1e4) return (value / 1e3).toFixed(1) + "k";
  return value.toFixed(0);
}

const DOLLARS = new Set(["USD", "USDC", "USDT"]);

// An amount as its account is told of it, with its currency: coins with four digits, which "compact" would lose.
export function amount(told, name) {
  const value = told?.[name];
  if (value === null || value === undefined) return "–";
  return `${DOLLARS.has(told.currency) ? compact(Number(value)) : Number(value).toFixed(4)} ${told.currency}`;
}

function made(name, attributes, text) {
  const element = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function steps(low, high, count) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high; at += step) found.push(at);
  return found;
}

function path(points, column, x, y) {
  let text = "", isDown = false;
  for (const point of points) {
    const value = point[column];
    if (value === null || value === undefined) { isDown = false; continue; }
    text += `${isDown ? "L" : "M"}${x(point[0]).toFixed(1)} ${y(value).toFixed(1)}`;
    isDown = true;
  }
  return text;
}

export function drawHistory(svg, points) {
  const width = svg.clientWidth || 400, height = svg.clientHeight || 230;
  const left = 52, right = 8, top = 8, bottom = 20;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  const values = points.flatMap((p) => [p[1], p[2], p[3]]).filter((v) => v !== null && v !== undefined);
  if (points.length < 2 || !values.length) {
    svg.append(made("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, "no figures yet"));
    return;
  }
  let low = Math.min(0, ...values), high = Math.max(...values);
  high += (high - low) * 0.06 || 1;
  const first = points[0][0], last = points[points.length - 1][0];
  const x = (at) => left + ((at - first) / (last - first || 1)) * (width - left - right);
  const y = (value) => top + ((high - value) / (high - low)) * (height - top - bottom);
  for (const value of steps(low, high, 4)) {
    svg.append(made("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
    svg.append(made("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, compact(value)));
  }
  const labels = [[first, "start"], [(first + last) / 2, "middle"], [last, "end"]];
  for (const [at, anchor] of labels) {
    const text = new Date(at).toLocaleTimeString([], { hour12: false });
    svg.append(made("text", { x: x(at), y: height - 5, "text-anchor": anchor }, text));
  }
  for (const [name, column] of SERIES) svg.append(made("path", { class: name, d: path(points, column, x, y) }));
}

export function worstByMove(changes, spots, vols) {
  return spots.map((_, spot) => Math.min(...vols.map((_, vol) => changes[spot * vols.length + vol])));
}

// How strong a cell's colour is, in percent: the change as a part of equity, with a root, so that small ones show.
export function heat(change, equity) {
  if (!equity || equity <= 0) return change ? 80 : 0;
  return Math.round(80 * Math.min(1, Math.sqrt(Math.abs(change) / equity)));
}
