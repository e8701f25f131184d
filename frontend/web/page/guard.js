// A file that fails to load leaves half a page, for which the browser tries nothing again. Chromium drops what is on its way
// whenever a network comes or goes, so this is no rarity. It stands in the index itself, because it has to be there.
let waiting = false;
function retry() {
  if (waiting) return;
  waiting = true;
  setTimeout(async () => {
    const banner = document.getElementById('banner'); // none while the rest of the index is still to come
    if (banner) {
      banner.textContent = 'This page has not been loaded whole. Trying again.';
      banner.hidden = false;
    }
    try {
      const { ok } = await fetch('./', { method: 'HEAD', cache: 'no-store', signal: AbortSignal.timeout(4000) });
      if (!ok) throw new Error('nobody is there'); // a proxy's own page would not try again
      location.reload();
    } catch {
      waiting = false;
      retry();
    }
  }, 500 + 500 * Math.random());
}
addEventListener('error', ({ target }) => target instanceof Element && retry(), true);
