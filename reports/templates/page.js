"use strict";
// Light and dark, which group is shown, and where in the page the reader is.
{
  const root = document.documentElement;
  document.querySelector("[data-theme-toggle]").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  const groups = document.querySelector("[data-groups]");
  const show = (key) => document.querySelectorAll("section.group").forEach((one) => { one.hidden = one.id !== key; });
  if (groups) {
    const wanted = location.hash.slice(1).split("-")[0];
    if ([...groups.options].some((option) => option.value === wanted)) groups.value = wanted;
    groups.addEventListener("change", () => show(groups.value));
    show(groups.value);
  }

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      for (const link of document.querySelectorAll(`.contents a[href="#${entry.target.id}"]`)) {
        if (entry.isIntersecting) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
    }
  }, { rootMargin: "-20% 0px -79% 0px" });
  document.querySelectorAll("main section section[id], #provenance").forEach((one) => seen.observe(one));
}
