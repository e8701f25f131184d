// The way to the frontend: /events, which is taken up again where it ended, and a question now and then whether it is still
// there. A cable that was pulled says nothing, and the browser does not show the comments that keep a stream alive.
//
// It sets out as soon as it is loaded, before the rest of the page is: the first picture is large.
import { setClock, present } from './time.js';

const every = 5000; // ms between questions
const patience = 4000; // ms for an answer

let waiting = []; // what came before anybody followed
let tell = (name, what) => waiting.push([name, what]);
let source = null;
let last = ''; // id of the last event
let live = false;
let heard = NaN; // when something last came
let tag = ''; // of the page's files
let again = 0;

// follow has on.snapshot, on.change and on.expectations called with what comes, and on.state with {live, since}: since is
// when the picture was last known to be true, by the frontend's clock; tried, that something has come of it.
export function follow(on) {
  tell = (name, what) => on[name](what);
  for (const [name, what] of waiting) tell(name, what);
  waiting = null;
}

function state(is) {
  if (is) heard = present();
  if (is !== live || !is) {
    live = is;
    tell('state', { live, since: heard, tried: true });
  }
}

function connect() {
  clearTimeout(again);
  source?.close();
  // A new source each time: one that was once answered 503 does not try again.
  source = new EventSource(last === '' ? 'events' : 'events?last-event-id=' + encodeURIComponent(last));
  source.onopen = () => {
    state(true);
    newer();
  };
  source.onerror = lost;
  for (const name of ['snapshot', 'change']) {
    source.addEventListener(name, (event) => {
      const what = JSON.parse(event.data);
      last = event.lastEventId;
      state(true);
      tell(name, what);
    });
  }
  source.addEventListener('resync', () => {
    last = '';
    lost();
  });
}

// lost takes the stream up again: soon if it was there, since a network that changed on this side is enough to end it, and in
// any case not all pages at once.
function lost() {
  source.close();
  const soonest = live ? 0 : 500;
  state(false);
  clearTimeout(again);
  again = setTimeout(connect, soonest + 2 * Math.max(soonest, 250) * Math.random());
}

async function ask(path, method) {
  const response = await fetch(path, { method, cache: 'no-store', signal: AbortSignal.timeout(patience) });
  setClock(response.headers.get('Date'));
  return response;
}

// newer loads the page anew when the frontend that came back has another one. The look is in the address.
async function newer() {
  try {
    const [found = ''] = /[0-9a-f]+/.exec((await ask('./', 'HEAD')).headers.get('ETag') ?? '') ?? []; // after it, the state
    if (tag !== '' && found !== '' && found !== tag) location.reload();
    tag = found || tag;
  } catch {
    // Next time.
  }
}

// question asks what is expected of the fleet, by which it is known that the frontend answers.
async function question() {
  try {
    const { expectations } = await (await ask('ready', 'GET')).json(); // with 503, too
    if (Array.isArray(expectations)) tell('expectations', expectations);
    if (live) heard = present();
  } catch {
    if (live) lost();
  }
  setTimeout(question, every);
}

connect();
question();
