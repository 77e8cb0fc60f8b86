"use strict";
(() => {
  const root = document.getElementById("strip");
  if (!root) return;
  const EVERY = 400; // milliseconds between an answer and the next question
  const PATIENCE = 3000; // milliseconds for an answer
  const INVITATION = "Kill or freeze a node, and go on using the bank.";
  const said = root.querySelector(".strip-said");
  const figure = (name) => root.querySelector(`[data-figure="${name}"]`);
  const write = (place, text) => { if (place.textContent !== text) place.textContent = text; };

  const ask = async (url, options) => {
    const abort = new AbortController();
    const late = setTimeout(() => abort.abort(), options ? 10 * PATIENCE : PATIENCE);
    try {
      const response = await fetch(url, { credentials: "same-origin", signal: abort.signal, ...options });
      const type = response.headers.get("content-type") || "";
      if (!type.includes("json")) throw new Error(`The site answers ${response.status}.`);
      return await response.json();
    } catch (error) {
      throw error.name === "Error" ? error : new Error("The site does not answer.");
    } finally {
      clearTimeout(late);
    }
  };

  const say = (text, bad) => {
    write(said, text);
    said.classList.toggle("strip-bad", Boolean(bad));
  };

  const operate = async (action, node) => {
    say(node ? `${action} ${node} …` : `${action} …`);
    const headers = { "X-CSRFToken": root.querySelector("[name=csrfmiddlewaretoken]").value };
    try {
      const body = new URLSearchParams({ action, node });
      const told = await ask(root.dataset.operate, { method: "POST", body, headers });
      say(told.said || told.error, told.error);
    } catch (error) {
      say(error.message, true);
    }
  };

  root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-action]");
    if (button) operate(button.dataset.action, button.closest("[data-node]")?.dataset.node || "");
  });

  const put = (button, action, label, off) => {
    button.dataset.action = action;
    button.disabled = off;
    write(button, label);
  };

  const buttons = (card, process) => {
    const [first, second] = card.querySelectorAll("button");
    const dead = process === "killed" || process === "starting";
    if (dead) put(first, "start", "Start", process === "starting");
    else put(first, "kill", "Kill", false);
    if (process === "frozen") put(second, "thaw", "Thaw", false);
    else put(second, "freeze", "Freeze", dead);
  };

  const card = (node) => {
    const place = root.querySelector(`[data-node="${node.name}"]`);
    if (!place) return;
    place.dataset.level = node.level;
    place.dataset.role = node.role;
    place.dataset.state = node.state;
    write(place.querySelector(".strip-role"), node.role);
    write(place.querySelector(".strip-state"), node.state);
    buttons(place, node.process);
  };

  const failover = (last) => {
    if (!last) return "none so far";
    const pause = last.seconds ? ` in ${last.seconds.toFixed(2)} s` : "";
    return `${last.lost} → ${last.by}${pause}`;
  };

  const answered = (nodes) => {
    // A page that has no other node to name was answered by the primary of that moment.
    const name = root.dataset.answered || nodes.find((node) => node.role === "primary")?.name;
    if (!name || root.querySelector("[data-answered-here]")) return;
    root.querySelector(`[data-node="${name}"]`)?.setAttribute("data-answered-here", "");
  };

  const show = (told) => {
    root.classList.remove("strip-stale");
    root.querySelectorAll(".strip-buttons").forEach((one) => { one.hidden = !told.buttons; });
    if (told.buttons && !said.textContent) say(INVITATION);
    told.nodes.forEach(card);
    answered(told.nodes);
    write(figure("requests"), told.requests.toLocaleString("en"));
    write(figure("errors"), told.errors.toLocaleString("en"));
    figure("errors").toggleAttribute("data-some", told.errors > 0);
    write(figure("longest"), `${told.longest.toFixed(1)} s`);
    write(figure("failover"), failover(told.failover));
  };

  const look = async () => {
    try {
      show(await ask(root.dataset.state));
      if (root.dataset.lost) say("");
      delete root.dataset.lost;
    } catch (error) {
      root.dataset.lost = "yes";
      root.classList.add("strip-stale");
      say(error.message, true);
    } finally {
      setTimeout(look, document.hidden ? 5 * EVERY : EVERY);
    }
  };

  look();
})();
