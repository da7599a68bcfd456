// Files that are dropped anywhere on the page.

/**
 * @param {(file: File) => void} picture takes a dropped picture
 * @param {(file: File) => void} sound takes anything else that is dropped: a sound, or a video with sound
 */
export function takeDropped(picture, sound) {
  const files = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const mark = (on) => document.body.classList.toggle("dropping", on);

  window.addEventListener("dragover", (event) => {
    if (!files(event)) return;
    event.preventDefault();
    mark(true);
  });
  window.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) mark(false);
  });
  window.addEventListener("drop", (event) => {
    if (!files(event)) return;
    event.preventDefault();
    mark(false);
    for (const file of event.dataTransfer.files) {
      if (file.type.startsWith("image/") || /\.hei[cf]$/i.test(file.name)) picture(file);
      else sound(file);
    }
  });
}
