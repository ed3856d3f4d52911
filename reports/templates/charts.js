"use strict";
// Draws each chart when it comes near the view, and before printing all that can be seen. Expressions are
// interpreted, never compiled: the page's content-security policy forbids eval.
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
  // The specifications hold their data, so that a chart is drawn before the print of this event begins.
  addEventListener("beforeprint", () => plots.forEach((plot) => {
    if (plot.dataset.drawn || !plot.clientWidth) return;
    near.unobserve(plot);
    draw(plot);
  }));
  let waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => plots.forEach((plot) => {
      if (plot.dataset.drawn && plot.dataset.narrow !== String(narrow(plot))) draw(plot);
    }), 200);
  });
}
