// One instance: its verdict and why, the evidence, what its worker says of itself, and what happened to it.
import { byID, make, setClass, soft, write } from './dom.js';
import { bare, count, plain } from './plain.js';
import { age, clock, moment, timed } from './time.js';
import { modelOf } from './fleet.js';
import { kindOf, manyFlaps, wordOf } from './verdicts.js';
import * as look from './look.js';
import { told } from './outputs.js';

const long = 20000; // a name of 10 KB is shown whole here

let drawn = ''; // key of the instance that the panel was made for
let shown = false; // the page has been drawn before
let sections = new Map(); // by name: {element, value}

// draw shows the instance that is selected, if any.
export function draw(fleet) {
  const { at, of } = look.current();
  const panel = byID('detail');
  document.body.classList.toggle('detailed', at !== '');
  panel.hidden = at === '';
  if (at === '') {
    drawn = '';
    shown = true;
    return;
  }
  const key = `${of}\n${at}`;
  if (key !== drawn) open(panel, key, of, at);
  const instance = fleet.get(of, at);
  const data = instance?.data;
  shown = true;
  write(byID('detail-title'), instance?.name ?? plain(at, 40));
  setClass(panel, `detail ${instance?.kind.name ?? 'gone'}`);
  section(panel, 'verdict', [data?.verdict, data?.verified, data?.since, data?.registered, data?.reasons, data?.flaps, causeOf(data, fleet)], () => verdict(data, causeOf(data, fleet)));
  const heads = fleet.head?.outputs ?? [];
  section(panel, 'Outputs', data && heads.length > 0 ? [data.outputs, heads.map((o) => o.output)] : [], () => (data && heads.length > 0 ? told(data.outputs, heads) : []));
  section(panel, 'Evidence', data?.observations ?? [], (list) => evidence(list, fleet));
  section(panel, 'History', data ? [data.changes, data.since] : [], () => (data ? history(data) : []));
  const aside = data ? fleet.asideOf(at).map(({ endpoint, data }) => ({ endpoint, state: data.verdict })) : [];
  section(panel, 'Worker', data ? [data.worker, data.transport, data.models, data.withdrawn, aside] : [], () => (data ? worker(data, aside) : []));
}

function open(panel, key, endpoint, id) {
  drawn = key;
  sections = new Map();
  const close = make('button', { type: 'button', class: 'close', 'aria-label': 'Close, Escape' }, 'Close');
  close.addEventListener('click', leave);
  panel.replaceChildren(make('div', { class: 'detail-top' },
    make('h2', { id: 'detail-title', class: 'long', tabindex: '-1' }), close),
  make('p', { class: 'long' }, make('span', { class: 'id' }, plain(id, 40)), ' in ', ...soft(plain(bare(endpoint), long))));
  panel.scrollTop = 0;
  if (shown) byID('detail-title').focus({ preventScroll: true }); // not when the page comes up with it
}

// leave closes the panel.
export function leave() {
  look.change({ at: '', of: '' }, true);
}

// section draws a part of the panel anew when what it shows has changed, and leaves it alone otherwise: somebody may be
// reading it, or copying from it.
function section(panel, name, value, render) {
  const text = JSON.stringify(value);
  const known = sections.get(name);
  if (known?.text === text) return;
  const element = known?.element ?? panel.appendChild(make('section', { class: name.toLowerCase() }));
  const content = render(value);
  const title = name === 'verdict' || content.length === 0 ? [] : [make('h3', {}, name)];
  element.replaceChildren(...title, ...content);
  sections.set(name, { element, text });
}

function mark(kind) {
  return make('span', { class: `glyph ${kind}`, 'aria-hidden': 'true' });
}

// causeOf is what explains that an instance fails, in a line; empty: nothing does.
const causeOf = (data, fleet) => (data?.cause ? (fleet.head.causes ?? []).find((c) => c.cause === data.cause)?.line ?? '' : '');

function verdict(data, cause) {
  if (!data) return [make('p', { class: 'state' }, 'It is gone: neither the registry nor gossip knows it any more.')];
  const kind = kindOf(data);
  const state = make('p', { class: `state ${kind.name}` }, mark(kind.name), make('b', {}, kind.word), make('span', {}, 'for ', age(moment(data.since))));
  const list = make('ul', { class: 'reasons' }, ...(data.reasons ?? []).map((r) => make('li', {}, ...timed(plain(r, 4000)))),
    cause ? make('li', {}, 'It fails together with others: ', make('b', {}, plain(cause, 400))) : null);
  const more = data.flaps >= manyFlaps ? [make('p', { class: 'note' }, `It changed ${count(data.flaps, 'time')} within 10 min.`)] : [];
  return [state, list, ...more];
}

function evidence(observations, fleet) {
  if (observations.length === 0) return [make('p', { class: 'note' }, 'Nobody has observed it.')];
  return [make('ul', { class: 'evidence-list' }, ...observations.map((o) => {
    const bad = o.finding === 'fail' || o.finding === 'stalled' || o.ready === false;
    const finding = [o.finding, o.reason, o.draining ? 'draining' : ''].filter(Boolean).map((w) => plain(w, 60)).join(', ');
    const took = o.latency_seconds > 0 && !bad ? ` in ${latency(o.latency_seconds)}` : '';
    return make('li', { class: o.counts ? '' : 'ignored' },
      mark(bad ? (o.kind === 'path' || o.reason === 'frozen' && o.kind === 'system' ? 'unreachable' : 'notready') : o.draining ? 'draining' : o.finding === 'unchecked' ? 'unverified' : 'ready'),
      make('b', {}, `${kindWord(o.kind)}: ${finding}${took}`), o.counts ? null : make('em', {}, ' does not count'),
      make('span', { class: 'by' }, ` ${observer(o, fleet)}, `, age(moment(o.at), ' ago')),
      o.detail ? make('span', { class: 'said long' }, plain(o.detail, 1000)) : null);
  }))];
}

const kindWord = (kind) => ({ path: 'network path', canary: 'canary', traffic: 'real requests', process: 'its process', system: 'system port' })[kind] ?? plain(kind, 40);

// observer says who saw it, by what people call them.
function observer({ observer: id, kind }, fleet) {
  if (kind !== 'path' && kind !== 'system') return 'by its own worker';
  const member = fleet.members.get(id);
  for (const instance of fleet.instances.values()) {
    if (instance.id === id && instance.data.worker?.host) return `by ${plain(instance.data.worker.host, 60)} (${plain(id, 24)})`;
  }
  return `by ${member?.role === 'frontend' ? 'frontend ' : ''}${plain(id, 24)}`;
}

function latency(seconds) {
  if (seconds >= 1) return `${seconds.toFixed(1)} s`;
  return seconds >= 0.01 ? `${Math.round(seconds * 1000)} ms` : `${(seconds * 1000).toPrecision(2)} ms`;
}

function history({ changes, since, verdict: state }) {
  if (!changes?.length) {
    return [make('p', { class: 'note' }, `No change since ${clock(moment(since))}, as far as this frontend remembers.`)];
  }
  return [make('ol', { class: 'history-list' }, ...changes.toReversed().map((c, n) => make('li', {},
    make('time', { class: 'when', datetime: String(c.at), title: plain(c.at, 40) }, clock(moment(c.at))),
    mark(c.to), make('span', { class: 'what' }, make('b', {}, wordOf(n === 0 ? state : c.to)), ` after ${wordOf(c.from)}`,
      make('span', { class: 'said long' }, ...timed(plain(c.reason, 600)))))))];
}

function worker({ worker: w, transport, registered, models, withdrawn }, aside) {
  const facts = [];
  const add = (name, ...values) => values[0] && facts.push(make('dt', {}, name), make('dd', { class: 'long' }, ...values));
  add('host', plain(w?.host, 2000));
  add('serves', (models ?? []).map((m) => plain(modelOf(m), 200)).join('  '));
  add('also', ...aside.flatMap(({ endpoint, state }) => [make('span', { class: 'also' }, ...soft(plain(bare(endpoint), 200)), state === 'ready' ? '' : `: ${wordOf(state)}`)]));
  add('labels', Object.entries(w?.labels ?? {}).map(([k, v]) => plain(`${k}=${v}`, 2000)).join('  '));
  add('version', plain(w?.version, 200));
  add('process', w?.pid ? plain(w.pid, 20) : '');
  if (w?.started_at && !Number.isNaN(moment(w.started_at))) add('started', age(moment(w.started_at), ' ago'));
  add('status', plain(w?.system_url, 2000));
  add('gossip', [plain(w?.gossip, 40), plain(w?.gossip_addr, 400)].filter(Boolean).join(' at '));
  add('registry', registered ? 'lists it' : 'does not list it');
  if (withdrawn) add('withdrawn', `from Dynamo by ${plain(withdrawn.by, 200)} `, age(moment(withdrawn.since), ' ago'), ': ', ...timed(plain(withdrawn.reason, 1000)));
  add('transport', transport ? plain(JSON.stringify(transport), long) : '');
  return [w ? null : make('p', { class: 'note' }, 'Its worker does not run dynmesh.'), make('dl', { class: 'facts' }, ...facts)].filter(Boolean);
}

