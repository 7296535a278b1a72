// Margin calls, transfers, collateral and breaks: what they are, and what a person may say of them.

import { amount } from "./charts.js";

const LEVELS = { block: "bad", warn: "warn", info: "dim" };
const BAD = new Set(["unknown", "failed", "expired", "escalated", "disputed"]);
const words = (text) => text.replaceAll("_", " ");

export function showMoney(told, page) {
  showCalls(told, page);
  showTransfers(told, page);
  showCollateral(told, page);
  showBreaks(told, page);
}

function rows(page, id, shown, key, classes, make, update, none) {
  const body = page.$(id).tBodies[0];
  page.kept(body, shown.length ? shown : [null], (row) => (row ? key(row) : "none"), (row) => {
    const made = page.line(row ? classes : ["dim"]);
    if (row) make(made, row);
    else Object.assign(made.cells[0], { colSpan: classes.length, textContent: none });
    return made;
  }, (made, row) => { if (row) update(made, row); });
}

function labelled(text, input) {
  const label = document.createElement("label");
  label.append(text, input);
  return label;
}

function choice(id, values) {
  const select = Object.assign(document.createElement("select"), { id });
  for (const value of values) select.append(new Option(value, value));
  return select;
}

function field(id, value, isRequired) {
  return Object.assign(document.createElement("input"), { id, value, required: isRequired, maxLength: 64 });
}

function showCalls(told, page) {
  page.set(page.$("calls-count"), told.calls.length ? `${page.compact(told.called_usd)} USD in ${told.counters.calls_open}` : "");
  rows(page, "calls", told.calls, (c) => `${c.account} ${c.call}`, ["", "", "n", "n wide", "n", "n"], (made, c) => {
    made.cells[1].append(document.createElement("span"));
    made.cells[5].append(page.button("Decide", "small", () => decide(c, page)));
  }, (made, c) => {
    const left_ms = (c.deadline_ns - told.time_ns) / 1e6;
    page.set(made.cells[0], c.account);
    page.set(made.cells[1].firstChild, `${c.call} ${words(c.state)}`, `pill ${BAD.has(c.state) ? "bad" : "warn"}`);
    page.set(made.cells[2], amount(c.told, "amount"));
    page.set(made.cells[3], `${page.compact(c.paid_usd)} USD`);
    page.set(made.cells[4], left_ms < 0 ? "over" : page.age(left_ms), left_ms < 60000 ? "n bad" : "n");
    made.cells[5].firstChild.disabled = !page.mayAct();
  }, told.is_watched ? "nobody is called" : "margin is not watched: [margin_calls] is not configured");
}

function decide(call, page) {
  const which = choice("margin-which", ["upheld", "reinstated", "handed-over", "exhausted"]);
  page.askFor({
    title: `Margin of ${call.account}`, name: call.account, verb: "Decide", fields: [labelled("Decision", which)],
    text: `Call ${call.call}: ${words(call.state)}, ${amount(call.told, "outstanding")} outstanding; the account is ${words(call.margin_state)}.`,
    send: async (reason, confirm) => {
      const body = { account: call.account, decision: which.value, call: which.value === "upheld" ? call.call : "", reason, confirm };
      const answer = await page.asked("/api/v1/margin", body);
      return `${call.account}: ${words(answer.state)}`;
    },
  });
}

// What the gateway wants to move itself and has not begun: `awaiting` rows have no ends, and approvals.
function approve(transfer, page) {
  const which = choice("approve-which", ["approve", "decline"]);
  page.askFor({
    title: `Transfer ${transfer.transfer}`, name: transfer.transfer, verb: "Say so", fields: [labelled("Decision", which)],
    text: `${transfer.units / 1e8} ${transfer.asset} by ${transfer.route} for ${transfer.account}, some ${page.compact(transfer.usd)} USD; approvals ${transfer.approvals}.`,
    send: async (reason, confirm) => {
      const answer = await page.asked(`/api/v1/transfers/${which.value}`, { transfer: transfer.transfer, reason, confirm });
      return `${transfer.transfer}: ${answer.state}`;
    },
  });
}

function showAwaiting(told, page) {
  page.showList("awaiting", told.awaiting, (t) => t.transfer, (t) => page.item("", [page.button("Approve", "small", () => approve(t, page))]), (made, t) => {
    page.set(made.children[0], `${t.transfer} awaits approval (${t.approvals}): ${t.units / 1e8} ${t.asset} for ${t.account} by ${t.route}`);
    made.children[1].disabled = !page.mayAct();
  });
  page.$("awaiting").hidden = !told.awaiting.length;
}

function showTransfers(told, page) {
  showAwaiting(told, page);
  const inAll = told.counters.transfers_live || 0;
  page.set(page.$("transfers-count"), inAll ? `${inAll} on their way` : "");
  rows(page, "transfers", told.transfers, (t) => t.transfer, ["", "", "n", "wide", "n"], (made, t) => {
    made.cells[1].append(document.createElement("span"), Object.assign(document.createElement("small"), { className: "wide", textContent: ` ${t.transfer}` }));
    made.cells[4].append(page.button("Move", "small move", () => move(t, page)));
  }, (made, t) => {
    page.set(made.cells[0], t.account);
    page.set(made.cells[1].firstChild, words(t.state), `pill ${BAD.has(t.state) ? "bad" : ""}`);
    page.set(made.cells[2], `${t.settled ? `${t.settled} of ` : ""}${t.amount.toLocaleString("en-GB", { maximumFractionDigits: 8 })} ${t.asset}`);
    page.set(made.cells[3], `${words(t.from)} to ${words(t.to)}`);
    made.cells[4].firstChild.disabled = !page.mayAct();
  }, "nothing is on its way");
}

function move(transfer, page) {
  const which = choice("transfer-which", ["settled", "sent", "failed", "reversed"]);
  const amount = field("transfer-amount", String(transfer.amount - transfer.settled), false);
  const reference = field("transfer-reference", "", false);
  page.askFor({
    title: `Transfer ${transfer.transfer}`, name: transfer.transfer, verb: "Tell",
    text: `${transfer.amount} ${transfer.asset} of ${transfer.account}, ${words(transfer.from)} to ${words(transfer.to)}. What settled or came back takes a second person.`,
    fields: [labelled("It has", which), labelled("Amount that settled", amount), labelled("Reference of whoever saw it", reference)],
    send: async (reason, confirm) => {
      const happening = which.value, said = happening === "settled" ? amount.value.trim() : "";
      const body = { transfer: transfer.transfer, happening, amount: said, reference: reference.value, reason, confirm };
      const answer = await page.asked("/api/v1/transfers", body);
      return answer.outcome === "done" ? `${transfer.transfer}: ${answer.state}` : `proposed as number ${answer.proposal}: a second person approves`;
    },
  });
}

function showCollateral(told, page) {
  const places = [...new Set(told.collateral.flatMap((c) => Object.keys(c.places)))].sort();
  page.kept(page.$("collateral").tHead, [places.join()], (text) => text, () => {
    const row = document.createElement("tr");
    for (const text of ["Asset", ...places.map(words), "Sum"]) row.append(Object.assign(document.createElement("th"), { textContent: text, className: text === "Asset" ? "" : "n" }));
    return row;
  }, () => {});
  page.kept(page.$("collateral").tBodies[0], told.collateral, (c) => `${c.asset} ${places.join()}`, () => page.line(["", ...places.map(() => "n"), "n"]), (made, c) => {
    page.set(made.cells[0], c.asset);
    places.forEach((place, index) => page.set(made.cells[index + 1], (c.places[place] || 0).toLocaleString("en-GB", { maximumFractionDigits: 4 })));
    page.set(made.lastChild, c.imbalance_units ? `${c.imbalance_units} units` : "0", c.imbalance_units ? "n bad" : "n good");
  });
}

function showBreaks(told, page) {
  const counts = Object.entries(told.breaks_open).map(([severity, number]) => `${number} ${severity}`);
  page.set(page.$("breaks-count"), counts.join(", "));
  const open = told.breaks.map((b) => ({ ...b, key: `break ${b.break}` }));
  const raised = told.raised.map((b) => ({ ...b, key: `raised ${b.sequence}` }));
  page.showList("breaks", [...open, ...raised], (b) => b.key, (b) => page.item("", b.break ? [
    Object.assign(document.createElement("small"), {}), page.button("Close", "small", () => closeBreak(b, page)),
  ] : []), (made, b) => {
    if (!b.break) return page.set(made.firstChild, `${page.clock(b.time_ns)} ${b.venue} ${b.symbol}: ${b.text}`);
    const where = [b.source, b.account, b.subject].filter(Boolean).join(" ");
    page.set(made.children[0], `${b.break} ${where}: ${b.kind}, ours ${b.ours || "none"}, theirs ${b.theirs || "none"}${b.evidence ? ` (${b.evidence})` : ""}`, LEVELS[b.severity] || "");
    page.set(made.children[1], `${b.severity}, ${page.age(1000 * b.age_s)}`);
    made.children[2].disabled = !page.mayAct();
  });
}

function closeBreak(one, page) {
  page.askFor({
    title: `Close break ${one.break}`, name: String(one.break), verb: "Close",
    text: `${one.kind}: ours ${one.ours || "none"}, theirs ${one.theirs || "none"}. The accounts that it restricted stay so.`,
    send: async (reason, confirm) => {
      await page.asked("/api/v1/breaks/close", { number: one.break, reason, confirm });
      return `break ${one.break} is closed`;
    },
  });
}
