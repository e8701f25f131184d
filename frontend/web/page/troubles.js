// Who is not well: since when, and why.
import { byID, keep, make, setAttribute, setClass, soft, write } from './dom.js';
import { bare, count, number, plain } from './plain.js';
import { age, moment, setAge, timed } from './time.js';
import { manyFlaps, unsteady, unwell } from './verdicts.js';
import * as look from './look.js';

const most = 100; // rows; whoever has more of them needs the counts and the filter

// draw lists the instances of fleet that are not well, of those that are looked at, the worst and then the newest first.
export function draw(fleet, matches) {
  const unlucky = [];
  let hidden = 0;
  for (const instance of fleet.instances.values()) {
    if (!unwell(instance.data)) continue;
    if (matches(instance)) unlucky.push(instance);
    else hidden++;
  }
  unlucky.sort((a, b) => rank(a) - rank(b) || compare(b.data.since, a.data.since) || compare(a.key, b.key));
  const shown = unlucky.slice(0, most);
  keep(byID('trouble-list'), shown, (i) => i.key, newRow, drawRow);
  const notes = [];
  if (unlucky.length > most) notes.push(`and ${number(unlucky.length - most)} more: choose an endpoint or filter to see them`);
  if (hidden > 0) notes.push(`${count(hidden, 'more is', 'more are')} not well outside this filter`);
  if (unlucky.length === 0 && hidden === 0) notes.push('Everyone is well.');
  write(byID('troubles-note'), notes.join(' · '));
  write(byID('troubles-title'), unlucky.length > 0 ? `Not well: ${number(unlucky.length)}` : 'Not well: none');
  return unlucky.length + hidden;
}

const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

// Those that are ready but were not a moment ago keep a place: a list in which rows come and go cannot be read.
const rank = ({ kind, data }) => (unsteady(data) ? 4 : data.verdict === 'ready' ? 5 : kind.rank);

function newRow(instance) {
  const { endpoint, id } = instance;
  const button = make('button', { type: 'button', class: 'trouble' },
    make('span', { class: 'glyph', 'aria-hidden': 'true' }),
    make('span', { class: 'state' }, make('b', {}), ' ', age(NaN)),
    make('span', { class: 'who' }, make('b', { class: 'name' }), ' ', make('span', { class: 'place' }, ...soft(plain(bare(endpoint), 80)), ` · ${plain(id, 24)}`)),
    make('span', { class: 'why' }));
  button.addEventListener('click', () => look.change({ at: id, of: endpoint }, true));
  return make('li', {}, button);
}

function drawRow(item, instance) {
  const [button] = item.children;
  const { at, of } = look.current();
  const selected = String(instance.id === at && instance.endpoint === of);
  setAttribute(button, 'aria-pressed', selected);
  if (item.drawn === instance.data) return;
  item.drawn = instance.data;
  const { data, kind } = instance;
  const [glyph, state, who, why] = button.children;
  const shaken = unsteady(data);
  setClass(button, `trouble ${kind.name}${shaken ? ' unsteady' : ''}`);
  setClass(glyph, `glyph ${kind.name}${shaken ? ' unsteady' : ''}`);
  write(state.children[0], shaken ? 'unsteady' : data.verdict === 'ready' ? 'not registered' : kind.word);
  setAge(state.children[1], moment(data.since));
  write(who.children[0], instance.name);
  why.replaceChildren(...timed(plain(reason(instance), 400)));
}

function reason({ data }) {
  const flaps = data.flaps >= manyFlaps ? `changed ${number(data.flaps)} times in 10 min` : '';
  if (unsteady(data)) {
    const last = data.changes?.findLast((c) => c.to !== 'ready');
    return flaps + (last ? `; before, ${last.reason}` : '');
  }
  const why = data.verdict === 'ready' ? 'gossip knows it, and no registry lists it' : (data.reasons?.[0] ?? '');
  return flaps ? `${why} (${flaps})` : why;
}
