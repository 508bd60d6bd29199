// Keeps the parts of a page that change up to date: it loads the page again and
// takes over the elements marked data-part. Everything works without it.
"use strict";
(() => {
  const live = document.body.hasAttribute("data-live");
  const pause = 2000;
  async function refresh() {
    if (!document.hidden) {
      try {
        const answer = await fetch(location.href, { credentials: "same-origin", redirect: "error" });
        const next = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const part of document.querySelectorAll("[data-part]")) {
          const fresh = next.getElementById(part.id);
          if (fresh && fresh.innerHTML !== part.innerHTML && !part.contains(document.activeElement)) {
            part.replaceWith(fresh);
          }
        }
      } catch {
        // The next look may succeed.
      }
    }
    setTimeout(refresh, pause);
  }
  if (live) setTimeout(refresh, pause);

  // One box that picks all of a page.
  const head = document.querySelector("table.pick thead th");
  const boxes = [...document.querySelectorAll("table.pick tbody input[type=checkbox]")];
  if (head && boxes.length > 0) {
    const all = document.createElement("input");
    all.type = "checkbox";
    all.setAttribute("aria-label", "Pick every write of this page");
    all.addEventListener("change", () => boxes.forEach((box) => { box.checked = all.checked; }));
    head.replaceChildren(all);
  }
})();
