// Tabs as the ARIA practices have them: arrow keys, Home and End move; a tab that is reached is shown.

/**
 * @param {HTMLElement} list element of the role tablist
 * @param {(panel: HTMLElement) => void} shown called with the panel that is shown
 */
export function tabs(list, shown) {
  const all = [...list.querySelectorAll("[role=tab]")];

  function select(tab) {
    for (const each of all) {
      const chosen = each === tab;
      each.setAttribute("aria-selected", String(chosen));
      each.tabIndex = chosen ? 0 : -1;
      panelOf(each).hidden = !chosen;
    }
    shown(panelOf(tab));
  }

  function go(tab) {
    history.replaceState(null, "", nameOf(tab));
    select(tab);
  }

  const named = () => all.find((tab) => nameOf(tab) === location.hash) ?? all[0];

  list.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) go(tab);
  });
  list.addEventListener("keydown", (event) => {
    const place = all.indexOf(event.target);
    const next = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: all.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const tab = all[(next + all.length) % all.length];
    go(tab);
    tab.focus();
  });
  window.addEventListener("hashchange", () => select(named()));
  select(named());
}

/** The tab's part of the address; no element has it as its id, so that the browser does not scroll there. */
function nameOf(tab) {
  return tab.id.replace("tab-", "#");
}

function panelOf(tab) {
  return document.getElementById(tab.getAttribute("aria-controls"));
}
