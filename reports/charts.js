// Draws every chart of the page with the inlined Vega-Embed, in the reader's colours; loads nothing.
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function colours() {
  const ink = dark.matches ? "#d8dade" : "#24292f";
  const line = dark.matches ? "#3d434b" : "#dfe2e6";
  const text = { labelColor: ink, titleColor: ink, labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal" };
  return {
    font: "system-ui, sans-serif",
    axis: { ...text, gridColor: line, domainColor: line, tickColor: line },
    legend: { ...text, columns: window.innerWidth < 500 ? 2 : 4 },
    view: { stroke: line },
  };
}

function draw() {
  for (const place of document.querySelectorAll("[data-chart]")) {
    const spec = JSON.parse(document.getElementById(place.dataset.chart).textContent);
    const options = {
      mode: "vega-lite", actions: false, renderer: "svg", ast: true, config: colours(),
      tooltip: { theme: dark.matches ? "dark" : "light" },
    };
    vegaEmbed(place, spec, options).catch((error) => { place.textContent = "This chart cannot be drawn: " + error; });
  }
}

draw();
dark.addEventListener("change", draw);
