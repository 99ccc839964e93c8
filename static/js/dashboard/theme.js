/**
 * Light or dark: the system's wish until one switches; a cookie keeps the choice, so that the server renders
 * the next page in it and nothing flashes.
 */

const YEAR_S = 365 * 24 * 3600;

export function beginTheme() {
  const button = document.querySelector("[data-theme-switch]");
  if (!button) return;
  button.hidden = false;
  button.addEventListener("click", () => choose(current() === "dark" ? "light" : "dark"));
}

function current() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}

function choose(theme) {
  document.documentElement.dataset.theme = theme;
  document.cookie = `theme=${theme}; path=/; max-age=${YEAR_S}; samesite=lax`;
}
