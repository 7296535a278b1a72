// Acts: a dialog that names what is about to happen, takes a reason, and has the name typed again.

const $ = (id) => document.getElementById(id);
let carryOut = null;

export function note(text) {
  $("note").textContent = text;
  $("note").hidden = false;
  clearTimeout(note.timer);
  note.timer = setTimeout(() => { $("note").hidden = true; }, 6000);
}

function ready() {
  $("act-go").disabled = !$("act-name").textContent || $("act-confirm").value !== $("act-name").textContent || !$("act-reason").checkValidity();
}

// `fields`: elements above the reason. `send(reason, confirm)` resolves to what to say, or throws an Error.
export function askFor({ title, text, verb, name, fields = [], hasReason = true, send }) {
  $("act-title").textContent = title;
  $("act-text").textContent = text;
  $("act-fields").replaceChildren(...fields);
  $("act-name").textContent = name;
  $("act-go").textContent = verb;
  $("act-reason").value = hasReason ? "" : "-";
  $("act-reason").parentElement.hidden = !hasReason;
  $("act-confirm").value = $("act-error").textContent = "";
  carryOut = send;
  ready();
  $("act").showModal();
  (hasReason ? $("act-reason") : $("act-confirm")).focus();
}

// For an act whose name is typed into one of its fields.
export function renamed(name) {
  $("act-name").textContent = name;
  ready();
}

export function prepareActs() {
  $("act-confirm").addEventListener("input", ready);
  $("act-reason").addEventListener("input", ready);
  $("act-cancel").addEventListener("click", () => $("act").close());
  $("act").querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    if ($("act-go").disabled) return;
    $("act-go").disabled = true;
    try {
      note(await carryOut($("act-reason").value, $("act-confirm").value));
      $("act").close();
    } catch (error) {
      $("act-error").textContent = error.message;
      ready();
    }
  });
}

export function limitFields(rows) {
  const labelled = (text, input) => {
    const label = document.createElement("label");
    label.append(text, input);
    return label;
  };
  const which = document.createElement("select");
  which.id = "limit-which";
  rows.forEach((row, index) => which.append(new Option(`${row.key}${row.rule ? ` of ${row.rule}` : ""}: ${row.value}`, String(index))));
  const value = document.createElement("input");
  value.id = "limit-value";
  value.inputMode = "decimal";
  value.required = true;
  const fill = () => { value.value = rows[which.value].value; };
  which.addEventListener("change", fill);
  fill();
  return { fields: [labelled("Limit", which), labelled("New value", value)], chosen: () => [rows[which.value], value.value.trim()] };
}
