// Asks for the token of a guarded server.

import { find, hide, show } from "./elements.js";

/** Shows the question; gives the token, or null if the reader leaves. */
export function askForToken(wrong) {
  const dialog = find("token");
  const input = find("token-input");
  const failure = find("token-failure");
  if (wrong) show(failure, "This token was not accepted. Check it and try again.");
  else hide(failure);
  input.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  input.focus();
  return new Promise((resolve) => {
    find("leave-token").onclick = () => dialog.close("");
    find("token-form").onsubmit = (event) => {
      event.preventDefault();
      if (input.value.trim()) dialog.close("given");
    };
    dialog.onclose = () => {
      resolve(dialog.returnValue === "given" ? input.value.trim() : null);
      input.value = "";
    };
  });
}
