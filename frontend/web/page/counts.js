// Counts: the fleet in one line, its kinds, each model by role, and each endpoint.
import { byID, keep, make, setAttribute, setClass, soft, write } from './dom.js';
import { bare, number, plain } from './plain.js';
import { kinds, remarkCounts } from './verdicts.js';
import * as look from './look.js';

const few = 18; // endpoints up to which all of them are shown

let opened = false; // all endpoints, although there are many

// draw shows the counts of fleet. want are the expectations, held against it.
export function draw(fleet, total, outcomes) {
  drawHeadline(fleet, total, outcomes);
  drawKinds(total);
  drawEndpoints(fleet, outcomes);
}

function drawHeadline(fleet, total, outcomes) {
  const remarks = remarkCounts(total.remarks);
  const parts = [
    ['', number(total.up), 'ready'],
    ...remarks.map(([n, word], at) => [at === 0 ? ' (' : ', ', number(n), at === remarks.length - 1 ? `${word})` : word]),
    [' of ', number(total.registered), 'registered'],
  ];
  const exact = outcomes.filter((o) => fleet.endpoints.has(o.endpoint) || o.endpoint.startsWith('dyn://') && !o.endpoint.includes('*'));
  const covered = new Set(exact.map((o) => o.endpoint));
  if (outcomes.length > 0 && exact.length === outcomes.length && [...fleet.endpoints.keys()].every((name) => covered.has(name))) {
    const most = new Map();
    for (const { endpoint, want } of exact) most.set(endpoint, Math.max(want, most.get(endpoint) ?? 0));
    parts.push([' of ', number([...most.values()].reduce((a, b) => a + b, 0)), 'expected']);
  } else if (outcomes.length > 0) {
    // A sum would compare what is expected of some endpoints with what all of them have.
    parts.push([' · ', `${number(outcomes.filter((o) => o.ok).length)} of ${number(outcomes.length)}`, 'expectations hold']);
  }
  keep(byID('headline'), parts, ([link, , unit]) => link + unit, ([link, , unit]) => make('span', { class: link === '' ? 'main' : '' },
    link, make('b', {}), ` ${unit}`), (element, [, figure]) => write(element.querySelector('b'), figure));
}

function drawKinds(total) {
  keep(byID('kinds'), kinds, (k) => k.name, (k) => {
    const button = make('button', { type: 'button', class: `kind ${k.name}`, title: k.meaning },
      make('span', { class: `glyph ${k.name}`, 'aria-hidden': 'true' }), make('b', {}), make('span', {}, k.name === 'ready' ? 'verified' : k.word));
    button.addEventListener('click', () => {
      const chosen = look.current().kinds;
      look.change({ kinds: chosen.includes(k.name) ? chosen.filter((n) => n !== k.name) : [...chosen, k.name] }, true);
    });
    return button;
  }, (button, k) => {
    write(button.children[1], number(total[k.name]));
    setClass(button, `kind ${k.name}${total[k.name] === 0 ? ' none' : ''}`);
    setAttribute(button, 'aria-pressed', String(look.current().kinds.includes(k.name)));
  });
}

function drawEndpoints(fleet, outcomes) {
  const cards = new Map();
  const models = new Map(); // instances, by model and role
  for (const instance of fleet.instances.values()) {
    for (const name of instance.serves) models.has(name) ? models.get(name).push(instance) : models.set(name, [instance]);
  }
  for (const name of [...models.keys()].sort()) cards.set(name, { name, tally: fleet.tally(models.get(name)), outcomes: [] });
  for (const [name, { instances }] of fleet.endpoints) {
    cards.set(name, { name, tally: fleet.tally(instances), outcomes: [] });
  }
  for (const o of outcomes) {
    if (!cards.has(o.endpoint)) cards.set(o.endpoint, { name: o.endpoint, tally: null, outcomes: [] });
    cards.get(o.endpoint).outcomes.push(o);
  }
  const every = [...cards.values()];
  const troubled = ({ tally, outcomes }) => outcomes.some((o) => !o.ok) || (tally && (tally.up < tally.all || remarkCounts(tally.remarks).length > 0));
  let shown = every;
  if (every.length > few && !opened) {
    // With many, those that need a look, and then the first ones.
    const chosen = new Set([...every.filter(troubled), ...every].slice(0, few));
    shown = every.filter((card) => chosen.has(card) || card.name === look.current().ep);
  }
  keep(byID('endpoints'), shown, (card) => card.name, newCard, drawCard);
  const more = byID('endpoints-more');
  more.hidden = every.length <= few;
  const hidden = every.filter((card) => !shown.includes(card));
  write(more, opened ? 'Show fewer endpoints' : `and ${number(hidden.length)} more endpoints${hidden.some(troubled) ? '' : ', all of them well'}`);
}

function newCard({ name }) {
  const button = make('button', { type: 'button', class: 'endpoint' },
    make('span', { class: 'name' }, ...soft(plain(bare(name), 90))),
    make('span', { class: 'figures' }, make('b', {}), make('span', {})),
    make('span', { class: 'share', 'aria-hidden': 'true' }, ...kinds.toReversed().map((k) => make('i', { class: k.name }))),
    make('span', { class: 'wanted' }), make('span', { class: 'rest' }));
  button.addEventListener('click', () => look.change({ ep: look.current().ep === name ? '' : name }, true));
  return make('li', {}, button);
}

function drawCard(item, { name, tally, outcomes }) {
  const [button] = item.children;
  const [, figures, share, wanted, rest] = button.children;
  const [first] = outcomes;
  const up = tally ? tally.up : first.have;
  const registered = tally ? tally.registered : first.registered;
  write(figures.children[0], number(up));
  write(figures.children[1], ` ready of ${number(registered)}`);
  write(wanted, outcomes.map((o) => `of ${number(o.want)} ${o.verified ? 'verified ' : ''}expected${o.ok ? '' : `, ${number(o.want - o.have)} short`}`).join(' · '));
  const said = [];
  if (tally) {
    for (const k of kinds) {
      if (k.name !== 'ready' && k.name !== 'unverified' && tally[k.name] > 0) said.push(`${number(tally[k.name])} ${k.word}`);
    }
    for (const [n, word] of remarkCounts(tally.remarks)) said.push(`${number(n)} ${word}`);
    if (tally.unregistered > 0) said.push(`${number(tally.unregistered)} not registered`);
  }
  kinds.toReversed().forEach((k, n) => {
    const grow = String(tally ? tally[k.name] : 0);
    if (share.children[n].style.flexGrow !== grow) share.children[n].style.flexGrow = grow;
  });
  write(rest, said.join(' · ') || (tally?.all > 0 ? 'all well' : 'nobody is there'));
  const missing = outcomes.some((o) => !o.ok);
  setClass(button, 'endpoint' + (missing ? ' missing' : '') + (said.length === 0 && !missing ? ' well' : ''));
  setAttribute(button, 'aria-pressed', String(look.current().ep === name));
}

// start makes what is there once.
export function start() {
  byID('endpoints-more').addEventListener('click', () => {
    opened = !opened;
    look.change({});
  });
}
