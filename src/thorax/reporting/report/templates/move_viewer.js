// When a case is opened, the viewer moves to the section of that case before it follows the click.
document.addEventListener("click", (event) => {
  const place = event.target.closest?.("[data-viewer-case]")?.closest(".case")?.querySelector(".viewer-place");
  if (place) place.append(document.getElementById("viewer"));
}, true);
