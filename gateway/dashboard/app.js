// The page: asks once a second for everything it shows, and changes what has changed. Texts are set, never parsed.

import { askFor, limitFields, note, prepareActs, renamed } from "./acts.js";
import { showMoney } from "./money.js";
import { amount, compact, drawHistory, heat, worstByMove } from "./charts.js";

const $ = (id) => document.getElementById(id);
const INTERVAL_MS = 1000, EVENTS_KEPT = 200;
let token = "", person = { role: "viewer" }, chosen = "", lastSequence = 0, events = [], view = null;

// ---- asking ---------------------------------------------------------------------------------------------------------

async function asked(path, body) {
  const options = { headers: { Authorization: `Bearer ${token}` }, cache: "no-store" };
  if (body !== undefined) {
    options.method = "POST";
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const answer = await fetch(path, options);
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const detail = Array.isArray(told.detail) ? told.detail.map((d) => `${d.loc.slice(1).join(".")}: ${d.msg}`).join("; ") : told.detail;
    throw Object.assign(new Error(detail || `error ${answer.status}`), { status: answer.status });
  }
  return told;
}

async function look() {
  try {
    const query = new URLSearchParams({ after: String(lastSequence), account: chosen });
    view = await asked(`/api/v1/view?${query}`);
    $("main").hidden = false;
    show(view);
    trouble(!view.gateway.is_up ? "No gateway runs: what is shown is what was." :
      view.gateway.age_ms > 5000 ? `The gateway has told nothing for ${(view.gateway.age_ms / 1000).toFixed(0)} s.` :
      view.gateway.trouble ? "The journal can not be followed." : "");
  } catch (error) {
    if (error.status === 401) return logIn("This token is not known.");
    trouble(error.status ? error.message : "The operator's process does not answer: what is shown is what was.");
  }
  setTimeout(look, document.hidden ? 5 * INTERVAL_MS : INTERVAL_MS);
}

function trouble(text) {
  $("trouble").hidden = !text;
  $("trouble").textContent = text;
}

function logIn(text) {
  token = "";
  sessionStorage.removeItem("token");
  $("login-error").textContent = text;
  $("main").hidden = $("leave").hidden = true;
  if (!$("login").open) $("login").showModal();
}

function begin(given) {
  token = given;
  sessionStorage.setItem("token", token);
  $("leave").hidden = false;
  lastSequence = 0;
  events = [];
  look();
}

// ---- showing: elements are kept by key, so that nothing is replaced under a pointer ---------------------------------

function kept(parent, rows, key, make, update) {
  const known = new Map([...parent.children].map((element) => [element.dataset.key, element]));
  rows.forEach((row, index) => {
    const name = String(key(row));
    let element = known.get(name);
    if (element === undefined) {
      element = make(row);
      element.dataset.key = name;
    }
    known.delete(name);
    update(element, row);
    if (parent.children[index] !== element) parent.insertBefore(element, parent.children[index] || null);
  });
  for (const element of known.values()) element.remove();
}

function set(element, text, className) {
  const shown = String(text);
  if (element.textContent !== shown) element.textContent = shown;
  if (className !== undefined && element.className !== className) element.className = className;
}

function line(classes) {
  const row = document.createElement("tr");
  for (const name of classes) row.append(Object.assign(document.createElement("td"), { className: name }));
  return row;
}

function button(text, className, act) {
  const made = Object.assign(document.createElement("button"), { type: "button", textContent: text, className });
  made.addEventListener("click", (event) => { event.stopPropagation(); act(); });
  return made;
}

const count = (value) => (value ?? 0).toLocaleString("en-GB");
const age = (ms) => (ms === null || ms === undefined ? "–" : ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`);
const micros = (us) => (us < 1000 ? `${us.toFixed(0)} µs` : `${(us / 1000).toFixed(1)} ms`);
const clock = (ns) => new Date(ns / 1e6).toLocaleTimeString([], { hour12: false });
const STATES = { live: "good", trading: "good", reducing: "warn", halted: "bad", killed: "bad" };
const MARGINS = { warned: "warn", called: "warn", restricted: "bad", adjusting: "bad", taken_over: "bad", closed: "bad" };
const mayAct = () => person.role !== "viewer";

function show(told) {
  person = told.person;
  set($("name"), told.gateway.name);
  set($("person"), `${person.name}, ${person.role.replace("_", " ")}`);
  const isUp = told.gateway.is_up && told.gateway.age_ms <= 5000;
  set($("state"), isUp ? `up ${count(Math.round(told.gateway.uptime_s))} s` : "silent", `pill ${isUp ? "good" : "bad"}`);
  $("killed").hidden = !told.gateway.killed.length;
  set($("killed"), `killed: ${told.gateway.killed.join(", ")}`);
  showLifts(told);
  document.body.classList.toggle("viewer", !mayAct());
  $("stop").hidden = !mayAct();
  showTiles(told);
  showAccounts(told);
  showHistory(told.history);
  showLadder(told);
  showAlerts(told.alerts);
  showOrders(told.events);
  showRest(told);
}

// What is killed and has no row to be reinstated in.
function showLifts(told) {
  const others = told.gateway.killed.filter((one) => !/^(account|session|venue) /.test(one));
  kept($("lifts"), others, (one) => one, (one) => {
    const [scope, name] = [one.slice(0, one.indexOf(" ")), one.slice(one.indexOf(" ") + 1)];
    return button(`Reinstate ${one}`, "small", () => kill(scope, name));
  }, (made) => { made.disabled = !mayAct(); });
}

function showTiles(told) {
  const c = told.counters, l = told.latency_us;
  const tiles = [
    ["orders in", count(c.orders_in)], ["accepted", count(c.accepted)], ["rejected", count(c.rejected)],
    ["fills", count(c.fills)], ["cancelled", count(c.cancelled)], ["unknown", count(c.unknown), c.unknown],
    ["breaks", count(c.breaks), c.breaks], ["called USD", compact(told.called_usd), told.called_usd], ["reject p99", l.reject?.count ? micros(l.reject.p99) : "–"],
    ["accept p99", l.accept?.count ? micros(l.accept.p99) : "–"],
  ];
  kept($("tiles"), tiles, (t) => t[0], (t) => {
    const tile = document.createElement("div");
    tile.append(document.createElement("b"), Object.assign(document.createElement("span"), { textContent: t[0] }));
    return tile;
  }, (tile, t) => {
    tile.className = t[2] ? "tile bad" : "tile";
    set(tile.firstChild, t[1]);
  });
}

function showAccounts(told) {
  const killed = new Set(told.gateway.killed);
  set($("accounts-count"), told.accounts.length < told.accounts_in_all ? `${told.accounts.length} of ${told.accounts_in_all}` : `${told.accounts_in_all}`);
  kept($("accounts").tBodies[0], told.accounts, (a) => a.account, (a) => {
    const row = line(["pick", "", "n", "n wide", "n wide", "use", "n wide", "n"]);
    row.cells[0].tabIndex = 0;
    row.cells[0].addEventListener("click", () => choose(a.account));
    row.cells[0].addEventListener("keydown", (event) => { if (event.key === "Enter") choose(a.account); });
    row.cells[1].append(document.createElement("span"), document.createElement("span"));
    const bar = Object.assign(document.createElement("div"), { className: "bar" });
    bar.append(document.createElement("i"), document.createElement("b"));
    row.cells[5].append(bar);
    const acts = Object.assign(document.createElement("div"), { className: "acts" });
    row.cells[7].append(acts);
    acts.append(button("Limits", "small limits", () => limits(a.account)), button("State", "small state", () => moveState(a.account)),
      button("Kill", "small danger kill", () => kill("account", a.account)));
    return row;
  }, (row, a) => {
    const cells = row.cells, isKilled = killed.has(`account ${a.account}`);
    row.className = a.account === told.history.account ? "chosen" : "";
    set(cells[0], a.account);
    const state = isKilled ? "killed" : a.state;
    set(cells[1].firstChild, state, `pill ${STATES[state] || "warn"}`);
    const margin = a.margin_state && a.margin_state !== "healthy" ? a.margin_state.replaceAll("_", " ") : "";
    set(cells[1].lastChild, margin, `pill ${MARGINS[a.margin_state] || "warn"}`);
    cells[1].lastChild.hidden = !margin;
    ["equity", "initial_margin", "maintenance_margin"].forEach((name, at) => set(cells[2 + at], amount(a.told, name)));
    cells[2].title = a.told.why ? `in USD: ${a.told.why}` : a.told.price_usd ? `1 ${a.told.currency} = ${a.told.price_usd} USD, ${a.told.price_age_ms} ms old` : "";
    const use = a.margin_use, [bar] = cells[5].children;
    bar.className = `bar ${use === null || use >= 0.9 ? "bad" : use >= 0.66 ? "warn" : ""}`;
    bar.firstChild.style.setProperty("--share", `${Math.min(100, 100 * (use ?? (a.equity === null ? 0 : 1))).toFixed(1)}%`);
    set(bar.lastChild, use !== null ? `${(100 * use).toFixed(0)}%` : a.equity === null ? "unknown" : "no equity");
    set(cells[6], count(a.working_orders));
    set(cells[7].firstChild.lastChild, isKilled ? "Reinstate" : "Kill");
    for (const each of cells[7].firstChild.children) each.disabled = !mayAct();
  });
}

function choose(account) {
  chosen = account;
}

function showHistory(history) {
  set($("chart-account"), `${history.account}, in USD`);
  drawHistory($("history"), history.points);
}

function showLadder(told) {
  const { spot_moves: spots, vol_moves: vols, rows } = told.ladder;
  const equity = new Map(told.accounts.map((a) => [a.account, a.equity]));
  const head = $("ladder").tHead, percent = (move) => `${move > 0 ? "+" : ""}${(100 * move).toFixed(1).replace(/\.0$/, "")}%`;
  // A narrow page shows every other move, the widest and none among them.
  const base = spots.indexOf(0), widest = Math.max(base, spots.length - 1 - base);
  const betweens = spots.map((_, s) => (s === base || (widest - Math.abs(s - base)) % 2 === 0 ? "" : "wide"));
  kept(head, [spots.join()], (text) => text, () => {
    const row = document.createElement("tr");
    ["Account", ...spots.map(percent)].forEach((text, column) =>
      row.append(Object.assign(document.createElement("th"), { textContent: text, className: column ? betweens[column - 1] : "" })));
    return row;
  }, () => {});
  const shown = [];
  for (const row of rows) {
    shown.push({ key: row.account, label: row.account, account: row.account, values: worstByMove(row.changes, spots, vols) });
    if (row.account === told.history.account) {
      vols.forEach((vol, v) => shown.push({
        key: `${row.account} ${vol}`, label: `volatility ${percent(vol)}`, account: row.account, isVol: true,
        values: spots.map((_, s) => row.changes[s * vols.length + v]),
      }));
    }
  }
  kept($("ladder").tBodies[0], shown, (row) => `${row.key} ${spots.length}`, (row) => {
    const made = line(["pick", ...spots.map(() => "heat")]);
    made.cells[0].addEventListener("click", () => choose(row.account));
    return made;
  }, (made, row) => {
    made.className = row.isVol ? "vol" : "";
    set(made.cells[0], row.label);
    row.values.forEach((value, index) => {
      const cell = made.cells[index + 1];
      set(cell, Math.abs(value) < 0.5 ? "0" : compact(value), `heat ${value < 0 ? "loss" : "gain"} ${betweens[index]}`.trimEnd());
      cell.style.setProperty("--heat", `${heat(value, equity.get(row.account))}%`);
    });
  });
}

function item(text, buttons = []) {
  const made = document.createElement("li");
  made.append(Object.assign(document.createElement("span"), { textContent: text }), ...buttons);
  return made;
}

function showList(id, rows, key, make, update = () => {}) {
  const list = $(id);
  kept(list, rows.length ? rows : [null], (row) => (row ? key(row) : "none"), (row) =>
    row ? make(row) : Object.assign(item("none"), { className: "none" }), (element, row) => { if (row) update(element, row); });
}

function showAlerts(alerts) {
  const firing = alerts.filter((a) => a.is_firing && !a.acknowledged_by);
  set($("alerts-count"), firing.length ? `${firing.length} to look at` : "");
  document.title = `${firing.length ? `(${firing.length}) ` : ""}Margingate`;
  const levels = { critical: "bad", warning: "warn", info: "dim" };
  showList("alerts", alerts, (a) => a.number, (a) => item("", [
    Object.assign(document.createElement("small"), {}),
    button("Seen", "small", () => sent(`/api/v1/alerts/${a.number}/acknowledge`, {}, "acknowledged")),
  ]), (made, a) => {
    made.className = !a.is_firing || a.acknowledged_by ? "seen" : "";
    set(made.children[0], a.text, levels[a.severity] || "");
    const times = a.count > 1 ? `${count(a.count)} times, ` : "";
    set(made.children[1], a.acknowledged_by ? `seen by ${a.acknowledged_by}` : `${times}${a.is_firing ? "" : "over, "}${age(1000 * a.age_s)} ago`);
    made.children[2].hidden = !!a.acknowledged_by || !a.is_firing || !mayAct();
  });
}

async function sent(path, body, text) {
  try {
    await asked(path, body);
    note(text);
  } catch (error) {
    note(error.message);
  }
}

function why(event) {
  const numbers = ["limit", "observed", "required"].filter((key) => event[key] !== null && event[key] !== undefined)
    .map((key) => `${key} ${event[key].toLocaleString("en-GB", { maximumFractionDigits: 2 })}`);
  if (event.mark_age_ms !== null && event.mark_age_ms !== undefined) numbers.push(`mark ${age(event.mark_age_ms)} old`);
  const reason = event.reason ? `${event.reason} (${event.code})` : "";
  return [[reason, event.text || ""].filter(Boolean).join(": "), numbers.length ? ` ${numbers.join(", ")}` : ""];
}

function showOrders(fresh) {
  if (fresh.length) lastSequence = Math.max(lastSequence, fresh[0].sequence);
  events = [...fresh, ...events].slice(0, EVENTS_KEPT);
  const kind = $("kind").value, levels = { rejected: "bad", "venue rejected": "bad", unknown: "bad", break: "bad", killed: "bad", filled: "good", accepted: "", cancelled: "dim" };
  kept($("orders").tBodies[0], events.filter((e) => !kind || e.event === kind).slice(0, 100), (e) => e.sequence, (e) => {
    const row = line(["dim", "", "", "", "why"]), [text, numbers] = why(e);
    set(row.cells[0], clock(e.time_ns));
    set(row.cells[1], e.event, levels[e.event] ?? "warn");
    set(row.cells[2], e.account || e.venue || e.session || "");
    set(row.cells[3], e.symbol ? `${e.side || ""} ${e.quantity || ""} ${e.symbol}${e.price ? ` at ${e.price}` : ""}` : "");
    row.cells[4].append(text, Object.assign(document.createElement("span"), { textContent: numbers }));
    return row;
  }, () => {});
}

function showRest(told) {
  const reasons = Object.entries(told.rejects_by_code).sort((a, b) => b[1] - a[1]).slice(0, 14);
  kept($("rejects").tBodies[0], reasons, (r) => r[0], () => line(["", "n"]), (row, [reason, number]) => {
    set(row.cells[0], reason.replaceAll("_", " ").toLowerCase());
    set(row.cells[1], count(number));
  });
  kept($("venues").tBodies[0], told.venues, (v) => v.venue, (v) => {
    const row = line(["", "", "n", "n wide", "n", "n wide", "n"]);
    row.cells[1].append(document.createElement("span"));
    row.cells[6].append(button("Kill", "small danger kill", () => kill("venue", v.venue)));
    return row;
  }, (row, v) => {
    const isStopped = told.gateway.killed.includes(`venue ${v.venue}`);
    set(row.cells[6].firstChild, isStopped ? "Reinstate" : "Kill");
    row.cells[6].firstChild.disabled = !mayAct();
    set(row.cells[0], v.venue);
    set(row.cells[1].firstChild, isStopped ? "killed" : v.state, `pill ${isStopped ? "bad" : STATES[v.state] || "warn"}`);
    set(row.cells[2], age(v.feed_age_ms));
    set(row.cells[3], age(v.oldest_mark_ms));
    set(row.cells[4], v.instruments === undefined ? "–" : `${v.marks_fresh} of ${v.instruments}`);
    set(row.cells[5], count(v.orders_waiting));
    row.title = Object.entries(v.lanes || {}).map(([lane, isUp]) => `${lane} ${isUp ? "up" : "down"}`).join(", ");
  });
  kept($("latency").tBodies[0], Object.entries(told.latency_us), (l) => l[0], () => line(["", "n", "n", "n"]), (row, [path, f]) => {
    set(row.cells[0], path);
    set(row.cells[1], f.count ? micros(f.p50) : "–");
    set(row.cells[2], f.count ? micros(f.p99) : "–");
    set(row.cells[3], count(f.count));
  });
  kept($("sessions").tBodies[0], told.sessions, (s) => s.session, (s) => {
    const row = line(["", "", "n wide", "n"]);
    row.cells[1].append(document.createElement("span"));
    row.cells[3].append(button("Kill", "small danger kill", () => kill("session", s.session)));
    return row;
  }, (row, s) => {
    const state = s.is_killed ? "killed" : s.is_logged_on ? "logged on" : "away";
    set(row.cells[0], s.session);
    set(row.cells[1].firstChild, state, `pill ${s.is_killed ? "bad" : s.is_logged_on ? "good" : ""}`);
    set(row.cells[2], count(s.throttled));
    set(row.cells[3].firstChild, s.is_killed ? "Reinstate" : "Kill");
    row.cells[3].firstChild.disabled = !mayAct();
  });
  kept($("levels").tBodies[0], told.levels.length ? told.levels : [null], (l) => (l ? l.level : "none"), (l) => line(l ? ["", "n", "n", "n wide"] : ["dim"]), (row, l) => {
    if (!l) return set(row.cells[0], "none are configured");
    set(row.cells[0], l.level);
    set(row.cells[1], compact(l.equity));
    set(row.cells[2], compact(l.initial_margin));
    set(row.cells[3], compact(l.max_margin));
  });
  showList("proposals", told.proposals, (p) => p.number, (p) => item(`${p.kind} of ${p.name}, by ${p.who}: ${p.text}`, [
    button("Approve", "small approve", () => decide(p, "approve")), button("Refuse", "small", () => decide(p, "refuse")),
  ]), (made, p) => {
    made.children[1].disabled = !mayAct() || p.who === person.name;
    made.children[2].disabled = !mayAct();
  });
  showMoney(told, page);
}

// What money.js draws with, and acts by.
const page = { $, kept, set, line, button, count, age, clock, compact, item, showList, asked, mayAct, askFor };

// ---- acting ---------------------------------------------------------------------------------------------------------

function kill(scope, name) {
  const isKilled = view.gateway.killed.includes(`${scope} ${name}`), path = isKilled ? "reinstate" : "kill";
  askFor({
    title: isKilled ? `Reinstate ${scope} ${name}` : `Kill ${scope} ${name}`, name, verb: isKilled ? "Reinstate" : "Kill",
    text: isKilled ? "It may send orders again." : "No new orders are taken, and all that work are cancelled, now.",
    send: async (reason, confirm) => {
      const answer = await asked(`/api/v1/${path}`, { scope, name, reason, confirm });
      return isKilled ? `${name} is reinstated` : `${name} is killed, ${answer.cancels} orders being cancelled`;
    },
  });
}

// Stops what has no row of its own: the firm, a desk, a venue, an instrument, a client of the hook.
function stopSomething() {
  const scope = document.createElement("select"), name = document.createElement("input"), known = document.createElement("datalist");
  Object.assign(scope, { id: "stop-scope" });
  Object.assign(name, { id: "stop-name", required: true, maxLength: 64, autocomplete: "off" });
  known.id = "stop-known";
  name.setAttribute("list", known.id);
  for (const one of ["firm", "desk", "venue", "instrument", "account", "session", "hook"]) scope.append(new Option(one, one));
  const names = () => ({
    firm: [view.gateway.name, ...levelsOf("firm")], desk: levelsOf("desk"), venue: view.venues.map((v) => v.venue), hook: view.hooks.map((h) => h.hook || h.name),
    instrument: [...new Set(events.map((e) => e.symbol).filter(Boolean))], account: view.accounts.map((a) => a.account), session: view.sessions.map((s) => s.session),
  })[scope.value];
  const fill = () => known.replaceChildren(...names().map((one) => new Option(one, one)));
  scope.addEventListener("change", fill);
  name.addEventListener("input", () => renamed(name.value));
  fill();
  const labels = [["What", scope], ["Its name", name]].map(([text, input]) => {
    const label = document.createElement("label");
    label.append(text, input);
    return label;
  });
  askFor({
    title: "Stop", name: "", verb: "Kill", fields: [...labels, known],
    text: "No new orders of it are taken, and all that work are cancelled, now. The gateway's own name is the firm of all accounts.",
    send: async (reason, confirm) => {
      const answer = await asked("/api/v1/kill", { scope: scope.value, name: name.value, reason, confirm });
      return `${scope.value} ${name.value} is killed, ${answer.cancels} orders being cancelled`;
    },
  });
}

const levelsOf = (kind) => view.levels.map((l) => l.level.split(" ")).filter(([first]) => first === kind).map(([, name]) => name);

function moveState(account) {
  const select = document.createElement("select");
  select.id = "state-which";
  for (const state of ["halted", "reducing", "trading"]) select.append(new Option(state, state));
  const label = document.createElement("label");
  label.append("It may from now on be", select);
  askFor({
    title: `State of ${account}`, name: account, verb: "Set", fields: [label],
    text: "Halted takes no orders, reducing those that reduce risk. Working orders stay; a kill cancels them.",
    send: async (reason, confirm) => {
      const answer = await asked("/api/v1/state", { account, state: select.value, reason, confirm });
      return `${account}: ${answer.was} -> ${select.value}`;
    },
  });
}

async function limits(account) {
  try {
    const { limits: rows } = await asked(`/api/v1/limits?${new URLSearchParams({ account })}`);
    const { fields, chosen: wanted } = limitFields(rows);
    askFor({
      title: `Limits of ${account}`, name: account, verb: "Change", fields, text: "Raised far, a limit waits for a second person.",
      send: async (reason, confirm) => {
        const [row, value] = wanted();
        const answer = await asked("/api/v1/limits", { account, key: row.key, rule: row.rule, value, was: row.value, reason, confirm });
        return answer.outcome === "done" ? `${row.key} is ${value}` : `proposed as number ${answer.proposal}: a second person approves`;
      },
    });
  } catch (error) {
    note(error.message);
  }
}

function decide(proposal, what) {
  askFor({
    title: `${what === "approve" ? "Approve" : "Refuse"}: ${proposal.kind} of ${proposal.name}`, name: proposal.name, hasReason: false,
    verb: what === "approve" ? "Approve" : "Refuse", text: `Proposed by ${proposal.who}: ${proposal.text}`,
    send: async (_, confirm) => {
      await asked(`/api/v1/proposals/${proposal.number}/${what}`, { confirm });
      return what === "approve" ? "approved, and done" : "refused";
    },
  });
}

// ---- beginning ------------------------------------------------------------------------------------------------------

prepareActs();
$("stop").addEventListener("click", stopSomething);
for (const [name, text] of [["equity", "equity"], ["initial", "initial margin"], ["maintenance", "maintenance margin"]]) {
  const entry = document.createElement("span");
  entry.append(Object.assign(document.createElement("i"), { className: name }), text);
  $("legend").append(entry);
}
$("kind").addEventListener("change", () => { if (view) showOrders([]); });
$("leave").addEventListener("click", () => location.reload(sessionStorage.removeItem("token")));
$("login").addEventListener("cancel", (event) => event.preventDefault());
$("login").querySelector("form").addEventListener("submit", () => {
  begin($("token").value.trim());
  $("token").value = "";
});
const handed = new URLSearchParams(location.hash.slice(1)).get("token");
if (handed) history.replaceState(null, "", location.pathname);
const known = handed || sessionStorage.getItem("token");
if (known) begin(known);
else logIn("");
