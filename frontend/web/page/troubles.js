// Who is not well: since when, and why; first what they have in common, and under it those whom that explains.
import { byID, keep, make, setAttribute, setClass, soft, write } from './dom.js';
import { bare, count, number, plain } from './plain.js';
import { age, moment, setAge, timed } from './time.js';
import { manyFlaps, remarkOn, unsteady, unwell } from './verdicts.js';
import * as look from './look.js';
import { sentences } from './outputs.js';

const most = 100; // rows; whoever has more of them needs the counts and the filter
const mostAlike = 8; // of one cause

// draw lists the instances of fleet that are not well, of those that are looked at: what they have in common, and under each
// cause its instances; then the others, the worst and then the newest first.
export function draw(fleet, matches) {
  const unlucky = [];
  let hidden = 0;
  for (const instance of fleet.instances.values()) {
    if (!unwell(instance.data)) continue;
    if (matches(instance)) unlucky.push(instance);
    else hidden++;
  }
  unlucky.sort((a, b) => rank(a) - rank(b) || compare(b.data.since, a.data.since) || compare(a.key, b.key));
  const rows = fold(unlucky);
  const causes = fleet.head.causes ?? [];
  const items = [];
  const others = new Set(rows);
  for (const cause of causes) {
    const alike = rows.filter((row) => row.instance.data.cause === cause.cause);
    for (const row of alike) others.delete(row);
    items.push({ cause, more: Math.max(0, alike.length - mostAlike) }, ...alike.slice(0, mostAlike));
  }
  items.push(...others);
  keep(byID('trouble-list'), items.slice(0, most), keyOf, newItem, drawItem);
  const notes = [];
  if (items.length > most) notes.push(`and ${number(items.length - most)} more: choose an endpoint or filter to see them`);
  if (hidden > 0) notes.push(`${count(hidden, 'more is', 'more are')} not well outside this filter`);
  const lost = causes.reduce((sum, cause) => sum + cause.lost, 0); // a worker that two of them explain counts twice: rare
  if (rows.length === 0 && hidden === 0 && causes.length === 0) notes.push('Everyone is well.');
  write(byID('troubles-note'), notes.join(' · '));
  const total = [rows.length > 0 ? number(rows.length) : '', lost > 0 ? `${number(lost)} lost` : ''].filter(Boolean);
  write(byID('troubles-title'), `Not well: ${total.join(', ') || 'none'}`);
  return rows.length + hidden;
}

const keyOf = ({ cause, instance }) => (cause ? `cause\n${cause.cause}` : instance.key);
const newItem = (item) => (item.cause ? newCause() : newRow(item));
const drawItem = (element, item) => (item.cause ? drawCause(element, item) : drawRow(element, item));

function newCause() {
  return make('li', { class: 'cause' }, make('b', { class: 'long' }), make('span', {}, ' for ', age(NaN)), make('span', { class: 'note' }));
}

function drawCause(item, { cause, more }) {
  const [line, since, note] = item.children;
  write(line, plain(cause.line, 400));
  setAge(since.lastElementChild, moment(cause.since));
  const ids = (cause.lost_ids ?? []).slice(0, mostAlike).map((id) => plain(id, 24));
  const lost = cause.lost > ids.length ? [...ids, `${number(cause.lost - ids.length)} more`] : ids;
  write(note, [more > 0 ? ` and ${number(more)} more that are not listed here` : '', lost.length > 0 ? ` lost: ${lost.join(', ')}` : ''].filter(Boolean).join(' ·'));
}

// fold has one row tell of a worker for which all is alike at several endpoints: it died once.
function fold(unlucky) {
  const rows = new Map();
  for (const instance of unlucky) {
    const { id, data, withdrawn } = instance;
    const remarks = (data.remarks ?? []).map(({ kind, text }) => [kind, text]);
    const key = JSON.stringify([id, data.verdict, data.registered, unsteady(data), withdrawn, remarks]);
    const row = rows.get(key);
    if (row) row.more++;
    else rows.set(key, { instance, more: 0 });
  }
  return [...rows.values()];
}

const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

// Those that are ready but were not a moment ago keep a place: a list in which rows come and go cannot be read.
const rank = ({ kind, data }) => (unsteady(data) ? 4 : data.verdict === 'ready' ? 5 : kind.rank);

function newRow({ instance: { endpoint, id } }) {
  const button = make('button', { type: 'button', class: 'trouble' },
    make('span', { class: 'glyph', 'aria-hidden': 'true' }),
    make('span', { class: 'state' }, make('b', {}), ' ', age(NaN)),
    make('span', { class: 'who' }, make('b', { class: 'name' }), ' ', make('span', { class: 'place' }, ...soft(plain(bare(endpoint), 80)), make('span', {}), ` · ${plain(id, 24)}`)),
    make('span', { class: 'why' }), make('span', { class: 'why routed' }));
  button.addEventListener('click', () => look.change({ at: id, of: endpoint }, true));
  return make('li', {}, button);
}

function drawRow(item, { instance, more }) {
  const [button] = item.children;
  const { at, of } = look.current();
  const selected = String(instance.id === at && instance.endpoint === of);
  setAttribute(button, 'aria-pressed', selected);
  write(button.querySelector('.place span'), more > 0 ? ` and ${count(more, 'more endpoint')}` : '');
  if (item.drawn === instance.data) return;
  item.drawn = instance.data;
  const { data, kind } = instance;
  const [glyph, state, who, why, routed] = button.children;
  const shaken = unsteady(data);
  const odd = shaken || data.verdict === 'ready' && remarkOn(data) !== '';
  setClass(button, `trouble ${kind.name}${odd ? ' unsteady' : ''}`);
  setClass(glyph, `glyph ${kind.name}${odd ? ' unsteady' : ''}`);
  write(state.children[0], shaken ? 'unsteady' : data.verdict !== 'ready' ? kind.word : data.registered ? remarkOn(data) || 'withdrawn' : 'not registered');
  setAge(state.children[1], moment(data.since));
  write(who.children[0], instance.name);
  why.replaceChildren(...timed(plain(reason(instance), 400)));
  routed.replaceChildren(...sentences(data.outputs));
  routed.hidden = routed.firstChild === null;
}

function reason({ data }) {
  const flaps = data.flaps >= manyFlaps ? `changed ${number(data.flaps)} times in 10 min` : '';
  if (unsteady(data)) {
    const last = data.changes?.findLast((c) => c.to !== 'ready');
    return flaps + (last ? `; before, ${last.reason}` : '');
  }
  const ready = data.registered ? data.outputs?.find((o) => o.state === 'out')?.reason ?? '' : 'gossip knows it, and no registry lists it';
  const decided = data.verdict === 'ready' ? ready : (data.reasons?.[0] ?? '');
  const why = [...new Set([decided, ...(data.remarks ?? []).map((r) => r.text)])].filter(Boolean).join('; ');
  return flaps ? `${why} (${flaps})` : why;
}
