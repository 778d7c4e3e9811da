"use strict";
// Shows a page's worth of items at a time. Every text is set as text, never as HTML.
(() => {
  const PAGE = 50;
  const runs = Array.from(document.querySelectorAll("script.data"), (script) => JSON.parse(script.textContent));
  const at = (id) => document.getElementById(id);
  let run = runs[0];
  let found = [];
  let start = 0;

  // Characters that cannot be seen, or that turn the direction of writing, are shown as their numbers.
  const visible = (text) =>
    String(text).replace(/[\p{Cc}\p{Cf}\p{Cs}]/gu, (sign) =>
      sign === "\n" || sign === "\t" || sign === "\u200d"
        ? sign
        : "⟨U+" + sign.codePointAt(0).toString(16).toUpperCase().padStart(4, "0") + "⟩");

  const element = (tag, kind, text) => {
    const made = document.createElement(tag);
    if (kind) made.className = kind;
    if (text !== undefined) made.textContent = visible(text);
    return made;
  };

  const prompt = (item) => run.beginnings[item.subject] + item.prompt;

  const matches = (item, words) => {
    const text = (item.id + "\n" + item.prompt + "\n" + (item.output ?? "") + "\n" + item.predicted).toLowerCase();
    return words.every((word) => text.includes(word));
  };

  const kept = (item, only) =>
    only === "" || (only === "right" ? item.correct === true : only === "wrong" ? item.correct === false : item.flags.includes(only));

  const fillSubjects = () => {
    const options = [element("option", "", "all"), ...run.subjects.map((name) => element("option", "", name))];
    options.forEach((option, place) => { option.value = place === 0 ? "" : String(place - 1); });
    at("subject").replaceChildren(...options);
  };

  const search = () => {
    const words = at("text").value.toLowerCase().split(/\s+/).filter(Boolean);
    const subject = at("subject").value;
    const only = at("only").value;
    found = run.items.filter((item) =>
      (subject === "" || item.subject === Number(subject)) && kept(item, only) && matches(item, words));
    const order = at("order").value;
    if (order) {
      const sign = order === "margin" ? 1 : -1;
      found.sort((one, other) => sign * ((one.margin ?? Infinity * sign) - (other.margin ?? Infinity * sign)) || 0);
    }
    start = 0;
    show();
  };

  const show = () => {
    const end = Math.min(start + PAGE, found.length);
    at("list").replaceChildren(...found.slice(start, end).map(row));
    at("count").textContent = found.length
      ? `${(start + 1).toLocaleString("en")} to ${end.toLocaleString("en")} of ${found.length.toLocaleString("en")} items`
      : "no item";
    at("earlier").disabled = start === 0;
    at("later").disabled = end === found.length;
    at("pages").hidden = found.length <= PAGE;
  };

  const row = (item) => {
    const details = element("details", "item");
    const summary = element("summary");
    const verdict = item.correct === null ? "" : item.correct ? "right" : "wrong";
    summary.append(element("span", "id", item.id));
    if (item.output === undefined) summary.append(element("span", verdict, `${item.predicted || "–"} (${item.answer || "?"})`));
    if (verdict) summary.append(element("span", verdict, verdict));
    if (item.margin !== undefined) summary.append(element("small", "", `${item.margin.toFixed(3)} nat`));
    item.flags.forEach((flag) => summary.append(element("span", "flag", flag)));
    summary.append(element("span", "excerpt", (item.output ?? item.prompt).trim().slice(0, 120).replace(/\s+/g, " ")));
    details.append(summary);
    details.addEventListener("toggle", () => { if (details.open && details.children.length === 1) fill(details, item); });
    return details;
  };

  const fill = (details, item) => {
    const block = (name, text) => {
      const box = element("pre", "", text);
      details.append(element("p", "caption", name), box);
      return box;
    };
    const asked = block("prompt", prompt(item));
    asked.scrollTop = asked.scrollHeight; // the question stands at the end
    if (item.logprobs) {
      const table = element("table");
      item.logprobs.forEach((logprob, place) => {
        const line = element("tr");
        line.append(element("th", "", "ABCDEFGHIJ"[place]), element("td", "number", logprob.toFixed(3)),
          element("td", "", item.choices ? item.choices[place] : ""));
        table.append(line);
      });
      const wide = element("div", "wide");
      wide.append(table);
      details.append(element("p", "caption", "log-probability of each letter, in nats"), wide);
    }
    if (item.output !== undefined) block("output", item.output);
    block("read as", item.predicted || "no answer");
    if (item.ran !== undefined) block("what came of running it", item.ran);
    block("what is right", item.answer || "not public");
  };

  const choose = () => { run = runs[Number(at("run").value)]; fillSubjects(); search(); };
  const turn = (pages) => { start += pages * PAGE; show(); at("items").scrollIntoView(); };
  at("filter").addEventListener("submit", (event) => event.preventDefault());
  at("text").addEventListener("input", search);
  for (const id of ["subject", "only", "order"]) at(id).addEventListener("change", search);
  at("run").addEventListener("change", choose);
  at("earlier").addEventListener("click", () => turn(-1));
  at("later").addEventListener("click", () => turn(1));
  choose();
})();
