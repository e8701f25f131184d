// The whole fleet, one cell an instance, by endpoint. A cell is one element whose class says its kind; with room enough it
// has words, too. One cell can be reached by Tab, and arrow keys go on from there.
import { byID, keep, make, setAttribute, setClass, soft, write } from './dom.js';
import { bare, number, plain } from './plain.js';
import { moment, now, span } from './time.js';
import { manyFlaps, remarkOn, unsteady } from './verdicts.js';
import * as look from './look.js';

const sizes = ['', 'small', 'medium', 'large'];
const cells = new Map(); // by the key of the instance
const groups = new Map(); // elements, by the name of the endpoint
let drawn = {}; // what the cells were drawn for
let shown = []; // instances, in the order in which they stand

export const size = (fleet) => look.current().zoom || (fleet.instances.size > 400 ? 1 : fleet.instances.size > 48 ? 2 : 3);

// draw brings the grid up to date: the cells that changed, unless all of them are looked at in another way.
export function draw(fleet, matches, { changed, moved }) {
  const { q, kinds, ep, at, of } = look.current();
  const wanted = { size: size(fleet), filter: JSON.stringify([q, kinds, ep]), selected: at && `${of}\n${at}` };
  const anew = wanted.size !== drawn.size || wanted.filter !== drawn.filter;
  const grid = byID('grid');
  setClass(grid, `grid ${sizes[wanted.size]}`);
  if (moved.size > 0) {
    for (const key of changed) if (!fleet.instances.has(key)) cells.delete(key);
    keep(grid, [...fleet.endpoints.values()], (g) => g.name, newGroup);
  }
  for (const name of moved) {
    const group = fleet.endpoints.get(name);
    if (!group) groups.delete(name);
    else keep(groups.get(name).lastChild, group.instances, (i) => i.key, newCell);
  }
  for (const key of anew ? fleet.instances.keys() : changed) {
    const instance = fleet.instances.get(key);
    if (instance) drawCell(cells.get(key), instance, matches, wanted.size);
  }
  if (wanted.selected !== drawn.selected) {
    cells.get(drawn.selected)?.setAttribute('aria-selected', 'false');
  }
  cells.get(wanted.selected)?.setAttribute('aria-selected', 'true');
  drawn = wanted;
  if (anew || changed.size > 0 || moved.size > 0) settle(fleet, anew ? null : new Set([...moved, ...[...changed].map((key) => key.slice(0, key.lastIndexOf('\n')))]));
}

// settle draws what depends on which cells are shown.
function settle(fleet, touched) {
  shown = [];
  for (const [name, group] of fleet.endpoints) {
    const visible = group.instances.filter((i) => !cells.get(i.key).away);
    shown.push(...visible);
    if (touched && !touched.has(name)) continue;
    const element = groups.get(name);
    const up = group.instances.reduce((n, i) => n + (i.data.verdict === 'ready' && i.data.registered), 0);
    element.hidden = visible.length === 0;
    const models = [...new Set(group.instances.flatMap((i) => i.serves))].sort();
    write(element.firstChild.children[1], plain(models.join('  '), 120));
    write(element.firstChild.lastChild, `${number(up)} of ${number(group.instances.length)}`);
  }
  const all = fleet.instances.size;
  write(byID('fleet-note'), look.narrowed() ? `${number(shown.length)} of ${number(all)} shown` : '');
  rove();
}

function newGroup({ name }) {
  const title = plain(bare(name), 120);
  const element = make('div', { class: 'group', role: 'group', 'aria-label': title },
    make('div', { class: 'group-title', 'aria-hidden': 'true' }, make('span', { class: 'name' }, ...soft(title)), make('span', { class: 'models' }), make('span', { class: 'unit' })),
    make('div', { class: 'cells' }));
  groups.set(name, element);
  return element;
}

function newCell(instance) {
  const cell = make('div', { role: 'option', tabindex: '-1', 'aria-selected': 'false' });
  cell.instance = instance;
  cells.set(instance.key, cell);
  return cell;
}

function drawCell(cell, instance, matches, size) {
  cell.instance = instance;
  const { kind, data, withdrawn } = instance;
  const shaken = unsteady(data);
  const remark = remarkOn(data);
  const word = `${shaken ? 'unsteady' : kind.word}${remark && `, ${remark}`}${withdrawn.length > 0 ? ', out' : data.outputs?.some((o) => o.held) ? ', held in' : ''}`;
  setClass(cell, `cell ${kind.name}${shaken || remark ? ' unsteady' : ''}${data.registered ? '' : ' unlisted'}`);
  setAttribute(cell, 'aria-label', `${instance.name}: ${word}`);
  const hidden = !matches(instance);
  if (cell.away !== hidden) cell.hidden = cell.away = hidden;
  if (size === 3) {
    if (!cell.firstChild) {
      cell.append(make('span', { class: `glyph` }), make('b', { class: 'name' }), make('span', { class: 'word' }));
    }
    setClass(cell.children[0], `glyph ${kind.name}`);
    write(cell.children[1], instance.name);
    write(cell.children[2], word);
  } else if (cell.firstChild) {
    cell.replaceChildren();
  }
}

// title is what the pointer is told about a cell. It is written when the pointer comes: most cells are never asked.
function title({ data, kind, name, id }) {
  const flaps = data.flaps >= manyFlaps ? `, changed ${data.flaps} times in 10 min` : '';
  return `${name}\n${plain(id, 24)}\n${kind.word} for ${span(now() - moment(data.since))}${flaps}\n${plain(data.reasons?.[0] ?? '', 200)}`;
}

// rove keeps one cell in the order of Tab: the one that was left, else the one that is selected, else the first.
let stop = null;

function rove(to) {
  const next = to ?? (stop && !stop.hidden && stop.isConnected ? stop : cells.get(drawn.selected) ?? cells.get(shown[0]?.key));
  if (next === stop) return;
  stop?.setAttribute('tabindex', '-1');
  next?.setAttribute('tabindex', '0');
  stop = next ?? null;
}

// focus goes to an instance's cell, if it is shown.
export function focus(endpoint, id) {
  const cell = cells.get(`${endpoint}\n${id}`);
  if (cell && !cell.hidden) cell.focus();
}

// beside returns the cell that is n rows further down, nearest to this one.
function beside(cell, n) {
  const from = cell.getBoundingClientRect();
  const at = shown.indexOf(cell.instance);
  let row = from.top;
  let best = null;
  let distance = Infinity;
  for (let i = at + n; i >= 0 && i < shown.length; i += n) {
    const box = cells.get(shown[i].key).getBoundingClientRect();
    if (box.top === from.top) continue;
    if (best && box.top !== row) break;
    row = box.top;
    const apart = Math.abs(box.left - from.left);
    if (apart < distance) [best, distance] = [cells.get(shown[i].key), apart];
  }
  return best;
}

export function start() {
  const grid = byID('grid');
  const select = (cell) => look.change({ at: cell.instance.id, of: cell.instance.endpoint }, true);
  grid.addEventListener('click', (event) => {
    const cell = event.target.closest('.cell');
    if (cell) {
      rove(cell);
      select(cell);
    }
  });
  grid.addEventListener('focusin', (event) => event.target.closest('.cell') && rove(event.target.closest('.cell')));
  grid.addEventListener('pointerover', (event) => {
    const cell = event.target.closest('.cell');
    if (cell) cell.title = title(cell.instance);
  });
  grid.addEventListener('keydown', (event) => {
    const cell = event.target.closest('.cell');
    if (!cell || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = (n) => cells.get(shown[shown.indexOf(cell.instance) + n]?.key);
    const move = {
      ArrowRight: () => step(1), ArrowLeft: () => step(-1), ArrowDown: () => beside(cell, 1), ArrowUp: () => beside(cell, -1),
      Home: () => cells.get(shown[0]?.key), End: () => cells.get(shown.at(-1)?.key),
    }[event.key];
    if (move) {
      event.preventDefault();
      move()?.focus();
    } else if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault();
      select(cell);
    }
  });
}
