"use strict";
// Draws each chart when it comes near the view. Expressions are interpreted, never compiled: the page's
// content-security policy forbids eval.
{
  const narrow = (plot) => plot.clientWidth < 560;
  const draw = (plot) => {
    const specification = JSON.parse(plot.parentElement.querySelector("script").textContent);
    plot.dataset.narrow = narrow(plot);
    return vegaEmbed(plot, specification[narrow(plot) ? "narrow" : "wide"], {
      actions: false,
      ast: true,
      defaultStyle: false,
      renderer: "svg",
      tooltip: { disableDefaultStyle: true },
    }).then(() => { plot.dataset.drawn = "true"; });
  };
  const plots = [...document.querySelectorAll("[data-chart]")];
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      near.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "600px" });
  plots.forEach((plot) => near.observe(plot));
  let waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => plots.forEach((plot) => {
      if (plot.dataset.drawn && plot.dataset.narrow !== String(narrow(plot))) draw(plot);
    }), 200);
  });
}
