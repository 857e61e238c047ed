"use strict";

// Draws every chart of the page, with the colors of its style, again when these change from light to dark.
const dark = matchMedia("(prefers-color-scheme: dark)");

function layoutOf(figure) {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const axis = { gridcolor: color("--line"), zerolinecolor: color("--line"), automargin: true };
  const hover = { bgcolor: color("--card"), bordercolor: color("--line"), font: { color: color("--text") }, namelength: 40 };
  return {
    ...figure.layout,
    xaxis: { ...axis, ...figure.layout.xaxis },
    yaxis: { ...axis, ...figure.layout.yaxis },
    font: { family: "system-ui, sans-serif", size: 12, color: color("--text") },
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    hoverlabel: hover,
    legend: { orientation: "h", yref: "container", yanchor: "bottom", y: 0 },
    margin: { l: 40, r: 10, t: 28, b: 40 },
    modebar: { bgcolor: "transparent", color: color("--quiet"), activecolor: color("--accent") },
  };
}

function draw(chart) {
  const figure = JSON.parse(chart.querySelector("script").textContent);
  const options = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
  Plotly.react(chart.querySelector("div"), figure.data, layoutOf(figure), options);
}

function drawAll() {
  document.querySelectorAll(".chart").forEach(draw);
}

drawAll();
dark.addEventListener("change", drawAll);
