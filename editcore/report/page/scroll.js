// Marks the tables and figures that are wider than their place, so that a hint can be shown.
"use strict";

(() => {
  const mark = (region) => {
    const cut = region.scrollWidth > region.clientWidth + 1;
    region.parentElement.classList.toggle("more", cut);
    // Only what scrolls needs the keyboard.
    if (cut) region.tabIndex = 0;
    else region.removeAttribute("tabindex");
  };
  const observer = new ResizeObserver((entries) => entries.forEach((entry) => mark(entry.target)));
  document.querySelectorAll(".scroll").forEach((region) => observer.observe(region));
})();
