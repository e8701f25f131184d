// The past, where the frontend keeps a history: a bar of what changed, a moment on it to look at, and how everything stood then.
import { byID, make, setAttribute, write } from './dom.js';
import { count, number, plain } from './plain.js';
import { clock, moment, present } from './time.js';
import * as look from './look.js';

const steps = 240; // of the bar
const spans = [['10 min', 6e5], ['1 hour', 36e5], ['1 day', 864e5], ['7 days', 6048e5], ['30 days', 2592e6]];
const stamp = (at) => new Date(at).toISOString();
const when = () => moment(look.current().when);

let points = []; // of the bar
let from = 0; // where it begins
let open = true; // it ends now
let begins = NaN; // what is kept
let asked = 0; // pictures
let loads = 0; // of the bar
let taken = 0; // the newest of them that was answered
let again = 0; // timer of the bar

// words are a moment by UTC, as logs and commands have it, and by the reader's clock.
export function words() {
  const utc = stamp(when()).replace('T', ' ').replace(/\.\d+/, '');
  const here = clock(when());
  return utc + (utc.includes(here) ? '' : ` (${here} here)`);
}

// picture has f called with how everything stood at the moment that is looked at, or with why that cannot be told.
export async function picture(f) {
  const mine = ++asked;
  for (let wait = 120; when() > 0; wait = 1000) {
    await new Promise((done) => setTimeout(done, wait));
    if (mine !== asked) return; // another moment is looked at, or none
    try {
      const response = await fetch(`mesh?at=${stamp(when())}`, { cache: 'no-store', signal: AbortSignal.timeout(20000) });
      const said = await response.json();
      if (mine !== asked) return;
      if (response.ok) return f(said);
      if (response.status !== 503) return f(null, plain(said.message, 300));
    } catch {
      // Again.
    }
  }
}

// load asks for the bar, and does so again now and then.
export async function load() {
  const mine = ++loads;
  clearTimeout(again);
  again = setTimeout(load, points.length > 0 ? 60000 : 2000);
  if (document.hidden && points.length > 0) return;
  const now = present();
  const span = Number(byID('past-span').value);
  const first = Number.isNaN(begins);
  const until = when() > 0 ? Math.min(now, Math.max(when() + span / 2, first ? 0 : begins + span)) : now;
  const since = begins > until - span ? Math.min(begins, until - 1000) : until - span;
  try {
    const response = await fetch(`history/counts?since=${stamp(since)}&until=${stamp(until)}&points=${steps}`, { cache: 'no-store', signal: AbortSignal.timeout(20000) });
    if (response.status === 404) clearTimeout(again); // it keeps none
    if (!response.ok) return;
    const said = await response.json();
    if (mine < taken) return; // of another length, or another moment
    taken = mine;
    begins = moment(said.begins);
    if (first && begins > since) return load(); // the bar begins with what is kept
    points = said.points;
    from = since;
    open = until === now;
    const most = Math.log(2 + Math.max(...points.map((p) => p.changes ?? 0)));
    [(p) => !p.known, (p) => 1 - ready(p) / all(p), (p) => Math.log(1 + (p.changes ?? 0)) / most].forEach((height, n) => {
      byID('past-bar').children[n].setAttribute('d', points.map((p, x) => (height(p) > 0 ? `M${x} 24V${24 - 24 * height(p)}h1V24` : '')).join(''));
    });
    draw();
  } catch {
    // Next time.
  }
}

const ready = (p) => p.counts?.ready ?? 0;
const all = (p) => Object.values(p.counts ?? {}).reduce((a, b) => a + b, 0);

// draw says where on the bar one is.
export function draw() {
  byID('past').hidden = points.length === 0;
  if (points.length === 0) return;
  const at = when();
  const last = points.length - 1;
  const next = points.findIndex((p) => moment(p.at) >= at);
  const found = next < 0 ? last : next; // it is now, or has come since the bar was asked for
  const p = points[found];
  const input = byID('past-at');
  if (Number(input.value) !== found) input.value = found;
  setAttribute(input, 'aria-valuetext', at > 0 ? `${clock(at)}: ${p.known ? `${number(ready(p))} of ${number(all(p))} ready, ${count(p.changes ?? 0, 'change')}` : 'not known'}` : 'now');
  write(byID('past-from'), clock(from));
  write(byID('past-until'), open ? 'now' : clock(moment(points[last].at)));
}

// go looks at a moment; empty: at what is now.
export function go(to) {
  look.change({ when: to }, to === '' || look.current().when === '');
}

// seek has the bar be where the moment is.
export function seek() {
  const at = when() || present();
  if (points.length > 0 && !(at >= from && (open || at <= moment(points.at(-1).at)))) load();
}

const svg = (name, attributes, ...children) => {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  element.append(...children);
  return element;
};

// start makes what is there once. All of it is there when it has ended.
export async function start() {
  const style = make('link', { rel: 'stylesheet', href: new URL('past.css', import.meta.url).href });
  document.head.append(style);
  await new Promise((loaded) => style.addEventListener('load', loaded)); // it hides what is not of the moment; guard.js tries again
  const input = make('input', { id: 'past-at', type: 'range', max: steps - 1, 'aria-label': 'Moment to look at' });
  const span = make('select', { id: 'past-span', 'aria-label': 'Length of the bar' }, ...spans.map(([words, ms]) => make('option', { value: ms }, words)));
  const back = make('button', { type: 'button', class: 'link' }, 'Back to now');
  byID('banner').after(
    make('section', { id: 'past', class: 'past', 'aria-label': 'The past', hidden: '' }, make('span', { id: 'past-from' }),
      make('div', { class: 'track' }, svg('svg', { id: 'past-bar', viewBox: `0 0 ${steps} 24`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
        ...['none', 'unreachable', ''].map((name) => svg('path', { class: name }))), input),
      make('span', { id: 'past-until' }), span),
    make('p', { id: 'past-banner', class: 'banner past-banner', role: 'status', hidden: '' }, make('span', { id: 'past-words' }), back));
  span.value = spans[2][1];
  input.addEventListener('input', () => {
    const n = Math.max(input.value, points.findIndex((p) => moment(p.at) > begins)); // the bar is a second long at least, and may begin before what is kept
    go(open && n === points.length - 1 ? '' : points[n].at);
  });
  back.addEventListener('click', () => go(''));
  span.addEventListener('change', load);
  load();
}
