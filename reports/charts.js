// Draws the charts of a page with Vega-Embed once they come into sight, in the reader's colours; loads nothing.
"use strict";

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

function draw(place) {
  place.dataset.drawn = "";
  const spec = JSON.parse(document.getElementById(place.dataset.chart).textContent);
  const options = {
    mode: "vega-lite", actions: false, renderer: "svg", ast: true, config: colours(),
    tooltip: { theme: dark.matches ? "dark" : "light" },
  };
  vegaEmbed(place, spec, options).catch((error) => { place.textContent = "This chart cannot be drawn: " + error; });
}

const places = [...document.querySelectorAll("[data-chart]")];
const sight = new IntersectionObserver((entries) => entries.forEach((entry) => {
  if (entry.isIntersecting) {
    sight.unobserve(entry.target);
    draw(entry.target);
  }
}), { rootMargin: "300px" });
places.forEach((place) => sight.observe(place));
dark.addEventListener("change", () => places.filter((place) => "drawn" in place.dataset).forEach(draw));
addEventListener("beforeprint", () => places.filter((place) => !("drawn" in place.dataset)).forEach(draw));
