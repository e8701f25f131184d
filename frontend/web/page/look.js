// What is looked at: filter, kinds, endpoint, selection and size. It stands in the address behind the #, so that a look can
// be shared, and is never sent to a server: names of 10 KB would not fit into a request.
import { kinds } from './verdicts.js';
import { moment } from './time.js';

const empty = { q: '', kinds: [], ep: '', at: '', of: '', zoom: 0, when: '' };

let look = read();
let told = () => {};

function read() {
  const given = new URLSearchParams(location.hash.slice(1));
  const names = kinds.map((k) => k.name);
  return {
    q: given.get('q') ?? '',
    kinds: (given.get('kinds') ?? '').split(' ').filter((name) => names.includes(name)),
    ep: given.get('ep') ?? '', // only this endpoint
    at: given.get('at') ?? '', // the id of the instance that is shown
    of: given.get('of') ?? '', // and its endpoint: a worker's endpoints share an id
    when: moment(given.get('when')) > 0 ? given.get('when') : '', // the moment that is looked at, if it is past
    zoom: [1, 2, 3].find((n) => String(n) === given.get('zoom')) ?? 0, // 0: by the size of the fleet
  };
}

function write() {
  const given = new URLSearchParams();
  for (const name in empty) {
    const value = Array.isArray(look[name]) ? look[name].join(' ') : look[name];
    if (value) given.set(name, value);
  }
  return '#' + given;
}

export const current = () => look;

// narrowed says whether not all of the fleet is looked at.
export const narrowed = () => look.q !== '' || look.kinds.length > 0 || look.ep !== '';

// change changes the look. What one would go back from gets a place in the browser's history.
export function change(wanted, step = false) {
  look = { ...look, ...wanted };
  history[step ? 'pushState' : 'replaceState'](null, '', write());
  told();
}

export const all = { q: '', kinds: [], ep: '' };

// follow has f called after each change, also by going back and forth and by hand.
export function follow(f) {
  told = f;
  addEventListener('popstate', () => {
    look = read();
    told();
  });
}

// matcher returns a function that says whether an instance is looked at. All words must be in what is known of it; a word
// after a minus must not.
export function matcher() {
  const wanted = look.q.toLowerCase().split(/\s+/).filter((w) => w !== '' && w !== '-');
  const { ep } = look;
  const only = look.kinds.length > 0 ? new Set(look.kinds) : null;
  return (instance) => {
    if (only && !only.has(instance.kind.name)) return false;
    if (ep !== '' && instance.endpoint !== ep && !instance.serves.includes(ep)) return false;
    return wanted.every((w) => (w[0] === '-' ? !instance.text.includes(w.slice(1)) : instance.text.includes(w)));
  };
}
