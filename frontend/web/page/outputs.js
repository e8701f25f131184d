// Those who tell routers: what they have told, what they did last, and what holds them back, as the frontend says it.
import { byID, keep, make, setClass, write } from './dom.js';
import { bare, number, plain } from './plain.js';
import { age, moment, setAge, timed } from './time.js';
import * as look from './look.js';

// States of servers, with the kind of instance whose colour and shape each has, and its word.
const states = [
  { state: 'in', kind: 'ready', word: 'in' },
  { state: 'degraded', kind: 'unverified', word: 'in, with half of the weight' },
  { state: 'draining', kind: 'draining', word: 'draining' },
  { state: 'out', kind: 'unreachable', word: 'out' },
];

// stateOf is what an output has told of an instance. A state of a later version shows as what it is called.
export const stateOf = ({ state }) => states.find((s) => s.state === state) ?? { state, kind: 'notready', word: plain(state, 20) };

// known are the outputs of which a frontend says what they have told: behind one address there may be one of an earlier version.
export const known = (outputs) => (outputs ?? []).filter((o) => o.servers);

const total = (outputs, name) => outputs.reduce((n, o) => n + o.servers[name], 0);

// glance is the state of all outputs in a few words: of how many instances fleet says that they are withdrawn, and what holds
// outputs back. It returns nothing where there are none.
export function glance(outputs, away) {
  if (outputs.length === 0) return null;
  const words = [];
  const failing = total(outputs, 'failing');
  const held = total(outputs, 'held');
  const frozen = outputs.some((o) => o.frozen);
  if (failing > 0) words.push('routers could not be told');
  if (frozen) words.push('nothing changes');
  if (held > 0) words.push('the floor holds some in');
  words.push(away > 0 ? `${number(away)} withdrawn` : 'nobody withdrawn');
  if (outputs.some((o) => o.dry_run)) words.push('dry run');
  return { state: failing > 0 || frozen || held > 0 ? 'bad' : away > 0 ? 'fair' : 'good', words: `outputs: ${words.join(', ')}` };
}

// draw shows a card for each output.
export function draw(fleet) {
  const { outputs } = fleet.head;
  byID('outputs').hidden = outputs.length === 0;
  const frozen = outputs.find((o) => o.frozen)?.frozen;
  const notes = [];
  if (frozen) notes.push(`Nothing changes, and what routers have stands: ${plain(frozen, 300)}.`);
  if (outputs.some((o) => o.dry_run)) notes.push('This is a dry run: routers are told nothing, and this is what they would be told.');
  const note = byID('outputs-note');
  write(note, notes.join(' '));
  note.hidden = notes.length === 0;
  keep(byID('output-list'), outputs, (o) => o.output, newCard, (item, o) => drawCard(item, o, fleet));
}

function newCard(o) {
  const last = make('button', { type: 'button', class: 'link did' }, age(NaN, ' ago'), make('span', {}));
  const item = make('li', { class: 'output' },
    make('p', { class: 'who' }, make('b', { class: 'name' }, plain(o.output, 40)), ' ', make('span', { class: 'place' })),
    make('span', { class: 'share', 'aria-hidden': 'true' }, ...states.map(({ kind }) => make('i', { class: kind }))),
    make('p', { class: 'told' }), make('p', { class: 'odd' }), last,
    make('details', {}, make('summary', {}, 'When dynmesh is gone'), make('p', { class: 'note' })));
  last.addEventListener('click', () => item.last && look.change({ at: item.last.instance, of: item.last.endpoint }, true));
  return item;
}

function drawCard(item, o, fleet) {
  const [who, share, told, odd, last, gone] = item.children;
  const { servers } = o;
  const odds = [];
  if (servers.held > 0) odds.push(`${number(servers.held)} of them would be out, and the floor holds them in`);
  if (servers.failing > 0) odds.push(`of ${number(servers.failing)} routers could not be told what is decided now`);
  const follows = o.leads === false;
  write(who.lastChild, follows ? 'another frontend does what is decided' : o.leads ? 'this frontend does what is decided' : '');
  states.forEach(({ state }, n) => {
    const grow = String(servers[state]);
    if (share.children[n].style.flexGrow !== grow) share.children[n].style.flexGrow = grow;
  });
  const counted = states.filter(({ state }) => servers[state] > 0).map(({ state, word }) => `${number(servers[state])} ${word}`);
  write(told, counted.join(' · ') || 'Routers were told of nobody yet');
  write(odd, odds.join(' · '));
  odd.hidden = odds.length === 0;
  setClass(item, `output${odds.length > 0 || o.frozen ? ' held' : ''}`);
  item.last = o.last;
  last.hidden = !o.last;
  if (o.last) {
    const name = fleet.get(o.last.endpoint, o.last.instance)?.name ?? plain(o.last.instance, 24);
    const said = [name, ' ', o.last.held ? 'held in by the floor' : stateOf(o.last).word, ' for ', plain(bare(o.last.target), 90), ': ', plain(o.last.reason, 200)].join('');
    setAge(last.firstChild, moment(o.last.at));
    if (last.said !== said) {
      last.said = said;
      last.lastChild.replaceChildren(': ', ...timed(said));
    }
  }
  write(gone.lastChild, plain(o.when_gone, 400));
}

// sentences says what routers were told of an instance, where that is not simply that it is in: in pieces, with times by the
// reader's clock.
export function sentences(outputs) {
  const alike = new Map();
  for (const o of outputs ?? []) {
    if (o.state === 'in' && !o.held && !o.error) continue;
    const state = `${o.dry_run ? 'would be ' : ''}${o.held ? 'held in by the floor' : stateOf(o).word}`;
    const text = [o.next ? `; next: ${plain(o.next, 200)}` : '', o.error ? `; could not be told since: ${plain(o.error, 200)}` : ''].join('');
    const names = alike.get(`${state}\n${text}`) ?? new Set();
    alike.set(`${state}\n${text}`, names.add(plain(o.output, 40)));
  }
  return [...alike].flatMap(([key, names], n) => {
    const [state, text] = key.split('\n');
    return timed(`${n > 0 ? ' · ' : ''}${state} at ${[...names].join(', ')}${text}`);
  });
}

// told lists what each output has told of an instance, for those who look at one.
export function told(outputs, heads) {
  const items = heads.flatMap((head) => {
    const own = (outputs ?? []).filter((o) => o.output === head.output);
    if (own.length === 0) return [make('li', {}, make('span', { class: 'glyph', 'aria-hidden': 'true' }), make('b', {}, plain(head.output, 40)), make('span', { class: 'by' }, 'Routers were told nothing of it.'))];
    return own.map((o) => {
      const { kind, word } = stateOf(o);
      const did = `${o.dry_run ? 'would be ' : ''}${o.held ? 'held in by the floor' : word}`;
      return make('li', {},
        make('span', { class: `glyph ${o.held ? 'notready' : kind}`, 'aria-hidden': 'true' }), make('b', {}, `${plain(o.output, 40)}: ${did}`),
        make('span', { class: 'by' }, `${plain(bare(o.target), 200)}, `, age(moment(o.since), ' ago')),
        o.reason ? make('span', { class: 'said long' }, ...timed(plain(o.reason, 1000))) : null,
        o.next ? make('span', { class: 'said long' }, 'Next: ', ...timed(plain(o.next, 300))) : null,
        o.error ? make('span', { class: 'said long' }, 'Could not be told since: ', plain(o.error, 1000)) : null);
    });
  });
  return [make('ul', { class: 'evidence-list' }, ...items)];
}
