// Draws every canvas with `data-chart`: JSON of labels and series, whose colours are names of CSS variables.
import {
  BarController, BarElement, CategoryScale, Chart, LinearScale, Tooltip, type ChartConfiguration,
} from "chart.js";

Chart.register(BarController, BarElement, CategoryScale, LinearScale, Tooltip);

interface Series {
  name: string;
  color: string;
  values: number[];
}

interface Drawing {
  labels: string[];
  series: Series[];
}

const drawn = new Map<HTMLCanvasElement, { chart: Chart; source: string }>();
const font = { family: "Inter Variable", size: 11 };

function color(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function configuration(drawing: Drawing, isNew: boolean): ChartConfiguration {
  const [grid, muted] = [color("--ms-grid"), color("--ms-muted")];
  const still = !isNew || matchMedia("(prefers-reduced-motion: reduce)").matches;
  return {
    type: "bar",
    data: {
      labels: drawing.labels,
      datasets: drawing.series.map((series) => ({
        label: series.name,
        data: series.values,
        backgroundColor: color(series.color),
        borderRadius: 2,
        barPercentage: 0.92,
        categoryPercentage: 0.86,
      })),
    },
    options: {
      responsive: true,
      maintainAspectRatio: false,
      animation: still ? false : { duration: 250 },
      interaction: { mode: "index", intersect: false },
      plugins: { legend: { display: false }, tooltip: { padding: 10, boxPadding: 4, usePointStyle: true } },
      scales: {
        x: {
          stacked: true,
          grid: { display: false },
          border: { color: grid },
          ticks: { color: muted, maxTicksLimit: 13, maxRotation: 0, font },
        },
        y: {
          stacked: true,
          beginAtZero: true,
          border: { display: false },
          grid: { color: grid },
          ticks: { color: muted, maxTicksLimit: 5, precision: 0, font },
        },
      },
    },
  };
}

function forgetRemoved(): void {
  for (const [canvas, { chart }] of drawn) {
    if (!canvas.isConnected) {
      chart.destroy();
      drawn.delete(canvas);
    }
  }
}

function draw(canvas: HTMLCanvasElement, afresh: boolean): void {
  const source = canvas.dataset.chart ?? "";
  const before = drawn.get(canvas);
  // A morph takes away the size that the chart has given its canvas, and with it all that was drawn.
  const isWhole = canvas.hasAttribute("style");
  if (before && before.source === source && isWhole && !afresh) return;
  before?.chart.destroy();
  drawn.set(canvas, { chart: new Chart(canvas, configuration(JSON.parse(source) as Drawing, !before)), source });
}

function drawAll(afresh = false): void {
  forgetRemoved();
  document.querySelectorAll<HTMLCanvasElement>("canvas[data-chart]").forEach((canvas) => draw(canvas, afresh));
}

drawAll();
document.addEventListener("htmx:after:swap", () => drawAll());
document.addEventListener("ms:theme", () => drawAll(true));
