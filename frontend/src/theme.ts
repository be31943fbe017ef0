// Runs before the first paint: a small blocking file, because the policy of the page forbids inline scripts.
const wanted = localStorage.getItem("ms-theme") ?? "auto";
const isDark = wanted === "dark" || (wanted === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
document.documentElement.setAttribute("data-bs-theme", isDark ? "dark" : "light");
