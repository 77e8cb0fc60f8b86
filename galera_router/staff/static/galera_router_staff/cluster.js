"use strict";
(() => {
  const root = document.getElementById("galera");
  if (!root) return;
  const EVERY = 800; // milliseconds between two questions
  const PATIENCE = 5000; // milliseconds for an answer: the reading of its own session may meet a frozen node
  const KEPT = 50; // events
  const VERDICTS = ["all is well", "something is wrong", "no node is the primary"];
  const said = document.getElementById("galera-said");
  const mayOperate = "mayOperate" in root.dataset;
  const events = new Map(); // of each cluster, by their ids: every process of the site knows some
  let busy = false;

  const element = (name, text, properties) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    return Object.assign(made, properties);
  };

  const say = (text, bad) => {
    said.textContent = text;
    said.classList.toggle("galera-bad", Boolean(bad));
  };

  const ask = async (url, options) => {
    const response = await fetch(url, { credentials: "same-origin", ...options });
    const type = response.headers.get("content-type") || "";
    if (!type.includes("json")) throw new Error(`the site answers ${response.status}`);
    return [response.status, await response.json()];
  };

  const operate = async (cluster, node, action, question) => {
    if (busy || !window.confirm(question)) return;
    busy = true;
    say(`${node}: …`);
    try {
      const body = new URLSearchParams({ cluster, node, action });
      const token = root.querySelector("[name=csrfmiddlewaretoken]").value;
      const [status, told] = await ask(root.dataset.operate, {
        method: "POST", body, headers: { "X-CSRFToken": token },
      });
      say(told.said || told.error, status !== 200);
    } catch (error) {
      say(error.message, true);
    } finally {
      busy = false;
    }
  };

  const button = (cluster, node, action, label, question, off) => {
    const made = element("button", label, { type: "button", disabled: off });
    made.dataset.action = action;
    made.addEventListener("click", () => operate(cluster, node.name, action, question));
    return made;
  };

  const buttons = (cluster, node) => {
    const made = element("div", undefined, { className: "galera-buttons" });
    const dead = Boolean(node.error);
    made.append(
      button(cluster, node, "switchover", "Make it the primary",
        `Make ${node.name} the primary? What is open on the old one is replayed there.`,
        dead || node.role === "primary"),
      node.drained
        ? button(cluster, node, "undrain", "Put it back", `Have work go to ${node.name} again?`, false)
        : button(cluster, node, "drain", "Drain", `Have no new work go to ${node.name}?`, dead),
    );
    return made;
  };

  const level = (node) => (node.error ? 2 : node.drained || !["Synced", "alone"].includes(node.state) ? 1 : 0);

  const facts = (node) => {
    const list = element("dl");
    const put = (name, value) => list.append(element("dt", name), value);
    const word = (text) => element("dd", text);
    put("state", word(node.state));
    put("lag", word(node.error ? "–" : `${node.lag.toFixed(1)} s`));
    put("queue", word(node.error ? "–" : String(node.receive_queue)));
    put("zone", word(node.zone || "–"));
    put("server", word(node.version || "–"));
    const share = element("dd", node.share === null ? "–" : `${node.share} %`);
    if (node.share !== null) share.append(element("progress", undefined, { max: 100, value: node.share }));
    put("reads", share);
    return list;
  };

  const card = (cluster, node) => {
    const made = element("li");
    made.dataset.node = node.name;
    made.dataset.role = node.error && !node.drained ? "none" : node.role;
    made.dataset.level = String(level(node));
    const name = element("p", `${node.name} `, { className: "galera-node-name" });
    const roles = [node.error && !node.drained ? node.state : node.role];
    if (node.drained && node.role !== "drained") roles.push("drained");
    name.append(element("span", roles.join(", "), { className: "galera-node-role" }));
    made.append(name, facts(node));
    if (mayOperate) made.append(buttons(cluster, node));
    return made;
  };

  const update = (list, made) => {
    // What is the same stays, with its focus; a button must not go away under the finger.
    made.forEach((item, index) => {
      const old = list.children[index];
      if (!old) list.append(item);
      else if (!old.isEqualNode(item)) {
        const action = old.contains(document.activeElement) && document.activeElement.dataset.action;
        old.replaceWith(item);
        if (action) item.querySelector(`[data-action="${action}"]`)?.focus();
      }
    });
    while (list.children.length > made.length) list.lastElementChild.remove();
  };

  const happened = (event) => {
    const made = element("li");
    made.dataset.kind = event.kind;
    const at = new Date(event.at * 1000);
    const what = event.kind === "primary" ? `${event.node} became the primary: ` : "Failover ";
    const pause = event.seconds === null ? "" : ` Pause: ${(event.seconds * 1000).toFixed(0)} ms.`;
    made.append(
      element("time", at.toLocaleString(), { dateTime: at.toISOString().replace(/\..*/, "Z") }),
      element("span", ` ${what}${event.text}.`),
      element("span", pause, { className: "galera-pause" }),
    );
    return made;
  };

  const timeline = (told) => {
    if (!events.has(told.cluster)) events.set(told.cluster, new Map());
    const known = events.get(told.cluster);
    for (const event of told.events) {
      const old = known.get(event.id);
      // Each process reckons the moment by its own clock, and one alone may know the pause.
      known.set(event.id, old ? { ...old, seconds: old.seconds ?? event.seconds } : event);
    }
    const sorted = [...known.values()].sort((a, b) => b.at - a.at).slice(0, KEPT);
    events.set(told.cluster, new Map(sorted.map((event) => [event.id, event])));
    return sorted;
  };

  const show = (told) => {
    const section = [...root.querySelectorAll("[data-cluster]")]
      .find((one) => one.dataset.cluster === told.cluster);
    if (!section) return;
    section.classList.remove("galera-stale");
    const find = (name) => section.querySelector(`.galera-${name}`);
    const verdict = find("verdict");
    verdict.textContent = VERDICTS[told.status];
    verdict.className = `galera-verdict galera-level-${told.status}`;
    find("epoch").textContent = told.epoch
      ? `Epoch ${told.epoch.number}${told.epoch.held ? ", held by an operator: no failback" : ""}`
      : "There is no table that names the primary: run migrate.";
    update(find("nodes"), told.nodes.map((node) => card(told.cluster, node)));
    update(find("complaints"), told.complaints.map((text) => element("li", text)));
    update(find("events"), timeline(told).map(happened));
  };

  const look = async () => {
    const abort = new AbortController();
    const late = setTimeout(() => abort.abort(), PATIENCE);
    try {
      const [status, told] = await ask(root.dataset.state, { signal: abort.signal });
      if (status !== 200) throw new Error(`the site answers ${status}`);
      told.clusters.forEach(show);
      if (root.dataset.lost) say("");
      delete root.dataset.lost;
    } catch (error) {
      root.dataset.lost = "yes";
      root.querySelectorAll(".galera-cluster").forEach((one) => one.classList.add("galera-stale"));
      say(error.name === "AbortError" ? "The site does not answer." : error.message, true);
    } finally {
      clearTimeout(late);
      setTimeout(look, document.hidden ? 5 * EVERY : EVERY);
    }
  };

  look();
})();
