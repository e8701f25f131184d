// The page: what comes from the frontend goes into the fleet, and what changed there is drawn, at most once a frame.
import { byID, keep, make, setAttribute, write } from './dom.js';
import { number } from './plain.js';
import { now, tick } from './time.js';
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
let next = null; // what such a frontend says meanwhile
let before = 0; // of when the picture of before is
let waiting = 0; // timer of the grace
let planned = false;
let frame = 0;
let latest = 0;

function draw() {
  planned = false;
  cancelAnimationFrame(frame);
  clearTimeout(latest);
  sources.draw(fleet, link, next ? before : 0);
  if (!fleet.head) return;
  outputs.draw(fleet);
  byID('first')?.remove(); // what the index came with
  const matches = look.matcher();
  const expected = outcomes(fleet);
  const total = fleet.tally();
  sources.drawOutputs(outputs.glance(link.live ? fleet.head.outputs : [], total.withdrawn));
  const empty = fleet.instances.size === 0;
  sources.drawEmpty(fleet, empty);
  sources.drawNotes(fleet.head.warnings ?? []);
  byID('counts').hidden = empty && expected.length === 0;
  byID('troubles').hidden = byID('fleet').hidden = empty;
  counts.draw(fleet, total, expected);
  const unlucky = troubles.draw(fleet, matches);
  grid.draw(fleet, matches, fleet.take());
  detail.draw(fleet);
  drawTools();
  write(document.querySelector('title'), `${link.live ? '' : '(old) '}${unlucky > 0 ? `${number(unlucky)} not well · ` : ''}dynmesh`);
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

// A frontend that has just started knows nothing for a moment. What was there before is nearer to the truth, so it stays, and
// the page says of when it is.
function snapshot(picture) {
  const came = new Fleet();
  came.replace(picture.endpoints);
  came.setHead({ discovery: picture.discovery, gossip: picture.gossip, causes: picture.causes ?? [], outputs: outputs.known(picture.outputs), warnings: picture.warnings });
  came.setMembers(picture.members ?? []);
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
  if (next && next.head.discovery.state !== 'syncing') adopt(next);
}

function adopt(came) {
  clearTimeout(waiting);
  next = null;
  fleet.setHead(came.head);
  fleet.members = came.members;
  fleet.replace([...came.endpoints.values()].map(({ name, instances }) => ({ endpoint: name, instances: instances.map((i) => i.data) })));
  fleet.aside = came.aside;
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
    plan();
  },
});

look.follow(() => {
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
  const typing = event.target instanceof HTMLInputElement;
  if (event.key === 'Escape') {
    if (typing && event.target.value !== '') {
      event.target.value = '';
      look.change({ q: '' });
    } else if (look.current().at !== '') {
      detail.leave();
    }
  } else if (event.key === '/' && !typing) {
    event.preventDefault();
    byID('filter').focus();
  }
});
setInterval(() => {
  tick();
  sources.draw(fleet, link, next ? before : 0);
}, 1000);
plan();
