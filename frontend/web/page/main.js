// The page: what comes from the frontend goes into the fleet, and what changed there is drawn, at most once a frame.
import { byID, keep, make, setAttribute, write } from './dom.js';
import { number } from './plain.js';
import { moment, setPast, tick } from './time.js';
import { Fleet } from './fleet.js';
import { follow } from './feed.js';
import { outcomes } from './expected.js';
import * as counts from './counts.js';
import * as detail from './detail.js';
import * as grid from './grid.js';
import * as look from './look.js';
import * as outputs from './outputs.js';
import * as sources from './sources.js';
import * as troubles from './troubles.js';
import * as voice from './voice.js';

const fleet = new Fleet();
const grace = 15000; // ms for which the picture of before stays when a frontend has begun anew and knows nothing yet
let link = { live: false, since: NaN, tried: false };
let next = null; // what the frontend says, while the picture is one of before, or of the past
let before = 0; // of when the picture of before is
let past = null; // past.js, where the frontend keeps a history
let remembering = false; // it is there, or on its way
let when = ''; // the moment of the past that is looked at
let shown = ''; // that of the picture
let unknown = ''; // why there is none of it
let waiting = 0; // timer of the grace
let planned = false;
let frame = 0;
let latest = 0;

function draw() {
  planned = false;
  cancelAnimationFrame(frame);
  clearTimeout(latest);
  sources.draw(fleet, link, before);
  drawPast();
  if (!fleet.head) return;
  outputs.draw(fleet);
  byID('first')?.remove(); // what the index came with
  const matches = look.matcher();
  const expected = when === '' ? outcomes(fleet) : []; // what was expected then is not known
  const total = fleet.tally();
  sources.drawOutputs(outputs.glance(link.live ? fleet.head.outputs : [], total.withdrawn));
  const empty = fleet.instances.size === 0;
  sources.drawEmpty(fleet, empty && when === '');
  sources.drawNotes(fleet.head.warnings ?? []);
  byID('counts').hidden = empty && expected.length === 0;
  byID('troubles').hidden = byID('fleet').hidden = empty;
  counts.draw(fleet, total, expected);
  const unlucky = troubles.draw(fleet, matches);
  grid.draw(fleet, matches, fleet.take());
  detail.draw(fleet);
  drawTools();
  write(document.querySelector('title'), `${when !== '' ? '(past) ' : link.live ? '' : '(old) '}${unlucky > 0 ? `${number(unlucky)} not well · ` : ''}dynmesh`);
  voice.say(voice.sentence(total, unlucky, link.live));
}

// plan has the page drawn with the next frame. A page that nobody sees, or that the browser takes for hidden, gets no
// frames, and is drawn all the same: its title is seen.
function plan() {
  if (planned) return;
  planned = true;
  frame = requestAnimationFrame(draw);
  latest = setTimeout(draw, 500);
}

// drawPast says of when the picture is.
function drawPast() {
  if (!past) return;
  past.draw();
  const asking = when !== shown;
  byID('past-banner').hidden = when === '';
  if (when !== '') write(byID('past-words'), asking ? `Asking for ${past.words()}` : unknown ? `${past.words()}: ${unknown}` : `As of ${past.words()}, not now.`);
  document.body.classList.toggle('asking', asking);
  document.body.classList.toggle('unknown', !asking && unknown !== '');
}

function drawTools() {
  const { q, zoom } = look.current();
  const filter = byID('filter');
  if (filter !== document.activeElement && filter.value !== q) filter.value = q;
  const size = grid.size(fleet);
  keep(byID('zoom'), [1, 2, 3], (n) => n, (n) => {
    const button = make('button', { type: 'button' }, ['', 'Small', 'Medium', 'Large'][n]);
    button.addEventListener('click', () => look.change({ zoom: look.current().zoom === n ? 0 : n }));
    return button;
  }, (button, n) => {
    setAttribute(button, 'aria-pressed', String(size === n));
    setAttribute(button, 'title', zoom === n ? 'chosen; press again to have it by the size of the fleet' : '');
  });
}

function read(picture) {
  const came = new Fleet();
  came.replace(picture.endpoints);
  came.setHead({ discovery: picture.discovery, gossip: picture.gossip, causes: picture.causes ?? [], outputs: outputs.known(picture.outputs), warnings: picture.warnings });
  came.setMembers(picture.members ?? []);
  return came;
}

// A frontend that has just started knows nothing for a moment. What was there before is nearer to the truth, so it stays, and
// the page says of when it is.
function snapshot(picture) {
  const came = read(picture);
  if (when !== '') {
    next = came;
    return;
  }
  if (picture.discovery.state !== 'syncing' || fleet.instances.size === 0) {
    adopt(came);
    return;
  }
  if (!next) {
    before = link.since;
    waiting = setTimeout(() => adopt(next), grace);
  }
  next = came;
}

function change(change) {
  const target = next ?? fleet;
  for (const { endpoint, id } of change.gone ?? []) target.remove(endpoint, id);
  for (const name of change.endpoints_gone ?? []) target.drop(name);
  for (const { endpoint, registered, unregistered } of change.endpoints ?? []) {
    if (registered + unregistered === 0) target.group(endpoint); // the others come with what they have, unless that is not shown
  }
  for (const data of change.instances ?? []) target.put(data.endpoint, data);
  target.setHead({ discovery: change.discovery, gossip: change.gossip, causes: change.causes ?? [], outputs: outputs.known(change.outputs), ...(change.warnings && { warnings: change.warnings }) });
  target.changeMembers(change.members ?? [], change.members_gone ?? []);
  if (next && when === '' && next.head.discovery.state !== 'syncing') adopt(next);
}

function adopt(came) {
  clearTimeout(waiting);
  next = null;
  before = 0;
  fill(fleet, came);
  plan();
}

function fill(fleet, from) {
  fleet.setHead(from.head);
  fleet.members = new Map(from.members);
  fleet.replace([...from.endpoints.values()].map(({ name, instances }) => ({ endpoint: name, instances: instances.map((i) => i.data) })));
  fleet.aside = new Map(from.aside);
}

// remember loads what only a frontend with a history needs.
async function remember() {
  if (remembering) return;
  remembering = true;
  try {
    const { status } = await fetch('history/counts?since=1s&points=1', { signal: AbortSignal.timeout(20000) });
    if (status === 404 && look.current().when === '') throw new Error('it keeps none');
  } catch {
    remembering = false; // again once the frontend is there again
    return;
  }
  try {
    const loaded = await import('./past.js');
    await loaded.start();
    past = loaded;
    travel();
  } catch {
    retry(); // as all files, in guard.js
  }
}

// travel goes to the moment that is looked at. What the frontend says meanwhile is kept for when one comes back.
function travel() {
  if (!past || look.current().when === when) return;
  clearTimeout(waiting);
  before = 0;
  if (when === '' && !next && fleet.head) fill(next = new Fleet(), fleet);
  when = look.current().when;
  past.seek();
  drawPast();
  past.picture(arrive);
  if (when === '') {
    if (next) adopt(next);
    arrive();
  }
}

function arrive(picture, why = '') {
  if (picture) fill(fleet, read(picture));
  shown = when;
  unknown = why;
  setPast(moment(when));
  plan();
}

follow({
  snapshot(picture) {
    snapshot(picture);
    plan();
  },
  change(what) {
    change(what);
    plan();
  },
  expectations(list) {
    fleet.expectations = list.filter((e) => typeof e?.endpoint === 'string' && Number.isFinite(e.want));
    plan();
  },
  state(is) {
    link = is;
    if (is.live) remember();
    plan();
  },
});

look.follow(() => {
  travel();
  const { at, of } = look.current();
  if (at === '' && selected) grid.focus(...selected);
  selected = at === '' ? null : [of, at];
  plan();
});
let selected = null; // where the focus goes back to

counts.start();
grid.start();
byID('filter').value = look.current().q;
byID('filter').addEventListener('input', (event) => look.change({ q: event.target.value }));
byID('skip').addEventListener('click', (event) => {
  event.preventDefault(); // the look is what stands behind the #
  document.querySelector('.cell[tabindex="0"]')?.focus();
});
addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target === byID('filter');
  if (event.key === 'Escape') {
    if (typing && event.target.value !== '') {
      event.target.value = '';
      look.change({ q: '' });
    } else if (look.current().at !== '') {
      detail.leave();
    } else if (when !== '') {
      past.go('');
    }
  } else if (event.key === '/' && !typing) {
    event.preventDefault();
    byID('filter').focus();
  }
});
setInterval(() => {
  tick();
  sources.draw(fleet, link, before);
}, 1000);
plan();
