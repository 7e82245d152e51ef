// Before anything is drawn: dark or light, where somebody chose one; a page that turns from light to dark hurts.

const chosen = localStorage.getItem("dejavud.theme");
if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
