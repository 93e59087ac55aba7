// The menu: marks the section that is in view, and is closed at first where it lies above the content.
"use strict";

(() => {
  const menu = document.querySelector(".menu");
  const list = menu.querySelector("details");
  const narrow = matchMedia("(max-width: 64rem)");
  const fold = () => list.toggleAttribute("open", !narrow.matches);
  fold();
  narrow.addEventListener("change", fold);
  list.addEventListener("click", (event) => {
    if (narrow.matches && event.target.closest("a")) list.open = false;
  });

  addEventListener("DOMContentLoaded", () => {
    const links = new Map([...menu.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]));
    const headings = [...links.keys()].map((id) => document.getElementById(id)).filter(Boolean);
    /** The last heading above the middle of the window. */
    function mark() {
      const above = headings.filter((heading) => heading.getBoundingClientRect().top < innerHeight / 2);
      const current = links.get((above.at(-1) ?? headings[0]).id);
      for (const link of links.values()) link.removeAttribute("aria-current");
      current.setAttribute("aria-current", "location");
      menu.querySelector(".now").textContent = `: ${current.textContent}`;
      const [place, frame] = [current, menu].map((each) => each.getBoundingClientRect());
      if (place.top < frame.top) menu.scrollTop -= frame.top - place.top;
      if (place.bottom > frame.bottom) menu.scrollTop += place.bottom - frame.bottom;
    }
    // Whenever a heading crosses the middle of the window, another section is the current one.
    const observer = new IntersectionObserver(mark, { rootMargin: "0px 0px -50% 0px" });
    headings.forEach((heading) => observer.observe(heading));
    mark();
  });
})();
