// Where the picture comes from, and whether it is still true: the frontend, the registry, gossip.
import { byID, keep, make, setClass, write } from './dom.js';
import { number, plain } from './plain.js';
import { clock, moment, now, present, span, timed } from './time.js';

function say(id, state, words) {
  const item = byID(id);
  setClass(item, state);
  write(item.lastElementChild, words);
}

// draw says what is known of the sources. It is also called each second, for the ages. link is the way to the frontend:
// {live, since, tried}; waiting says that the frontend has begun anew and has read nothing yet.
export function draw(fleet, link, waiting) {
  const { head } = fleet;
  const lost = !link.live;
  const never = Number.isNaN(link.since);
  say('source-page', lost ? (link.tried ? 'bad' : '') : 'good', lost ? (never ? 'connecting' : 'frontend lost') : 'live');
  drawRegistry(lost ? null : head?.discovery, waiting);
  drawGossip(lost ? null : head?.gossip);
  const banner = byID('banner');
  const text = saying(head, link, lost, never, waiting);
  banner.hidden = text === '';
  write(banner, text);
  document.body.classList.toggle('old', text !== '' && !never);
}

function saying(head, link, lost, never, waiting) {
  if (lost && !link.tried) return '';
  if (lost && never) return 'The frontend has not answered yet. Trying again.';
  if (lost) return `The frontend does not answer. This picture is ${span(present() - link.since)} old, of ${clock(link.since)}. Trying again.`;
  if (waiting) return `The frontend has started anew and has not read the registry yet. This picture is of before, of ${clock(waiting)}.`;
  return '';
}

function drawRegistry(discovery, waiting) {
  if (!discovery) return say('source-registry', '', 'registry: unknown');
  const since = moment(discovery.since);
  switch (waiting ? 'syncing' : discovery.state) {
    case 'synced':
      return say('source-registry', 'good', 'registry: in sync');
    case 'stale':
      return say('source-registry', 'bad', `registry: last read ${Number.isNaN(since) ? 'at an unknown time' : span(now() - since) + ' ago'}`);
  }
  return say('source-registry', 'bad', 'registry: not read yet');
}

function drawGossip(gossip) {
  if (!gossip) return say('source-gossip', '', 'gossip: unknown');
  if (gossip.state === 'off') return say('source-gossip', '', 'gossip: off');
  if (gossip.state === 'alone') return say('source-gossip', 'fair', 'gossip: alone');
  const odd = [];
  if (gossip.suspect > 0) odd.push(`${number(gossip.suspect)} suspect`);
  if (gossip.dead > 0) odd.push(`${number(gossip.dead)} dead`);
  return say('source-gossip', odd.length > 0 ? 'fair' : 'good', `gossip: ${[`${number(gossip.alive)} alive`, ...odd].join(', ')}`);
}

// drawOutputs says how those who tell routers are: {state, words}, or nothing where there are none, or nothing is known of them.
export function drawOutputs(glance) {
  byID('source-outputs').hidden = glance === null;
  if (glance) say('source-outputs', glance.state, glance.words);
}

// drawNotes lists what the frontend warns of.
export function drawNotes(warnings) {
  byID('notes').hidden = warnings.length === 0;
  const items = warnings.map((text, n) => ({ text, key: `${warnings.indexOf(text) === n ? '' : n}${text}` }));
  keep(byID('note-list'), items, (i) => i.key, ({ text }) => make('li', { class: 'long' }, ...timed(plain(text, 500))));
}

// drawEmpty says what to do when there is nothing to show.
export function drawEmpty(fleet, show) {
  const section = byID('empty');
  section.hidden = !show;
  if (!show) return;
  const read = fleet.head.discovery.state === 'synced';
  const key = String(read);
  if (section.drawn === key) return;
  section.drawn = key;
  const command = (text) => make('pre', { tabindex: '0' }, make('code', {}, text));
  section.replaceChildren(...(read ? [
    make('h2', { id: 'empty-title' }, 'Nothing is registered yet'),
    make('p', {}, 'This frontend reads the registry, and no worker has registered an endpoint in it. Start one with the same etcd:'),
    command('export ETCD_ENDPOINTS=http://etcd-1:2379\ndynmesh worker --backend http://127.0.0.1:8000 --engine vllm'),
    make('p', {}, 'That puts an engine which is there into the mesh. Without one, a worker with a built-in mock engine will do:'),
    command('dynmesh worker --component backend --endpoint generate'),
    make('p', {}, 'It shows here as soon as it has registered; there is no need to load this page again.'),
  ] : [
    make('h2', { id: 'empty-title' }, 'The registry has not been read yet'),
    make('p', {}, 'This frontend has not read its registry since it started, so it cannot tell what is registered. See what the notes and its log say of it; where it is etcd, whether that answers at the addresses that the frontend was given:'),
    command('ETCD_ENDPOINTS=http://etcd-1:2379,http://etcd-2:2379 dynmesh frontend'),
    make('p', {}, 'It goes on trying, and the fleet shows here as soon as it is known.'),
  ]));
}

