// Each figure is shown as the SVG that was stored; this makes it a live chart, which answers to hover.
document.querySelectorAll("figure.chart").forEach((figure) => {
  const spec = JSON.parse(figure.querySelector("script").textContent);
  const view = figure.querySelector(".view");
  const live = document.createElement("div");
  vegaEmbed(live, spec, { actions: false, renderer: "svg" }).then(
    () => { view.replaceChildren(live); view.dataset.live = "true"; },
    (error) => { console.error("a chart stays still:", error); },
  );
});
