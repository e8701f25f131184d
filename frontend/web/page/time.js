// Times and ages. All ages are by the frontend's clock: that of a screen on a wall is often wrong.
import { make, write, setAttribute } from './dom.js';

let ahead = 0; // of the frontend's clock, ms
let past = NaN; // the moment that the picture is of

// setClock takes the Date of an answer that has just come. It is in whole seconds and was on its way, so small differences
// mean nothing.
export function setClock(date) {
  const difference = Date.parse(date) + 500 - Date.now();
  if (!Number.isNaN(difference)) {
    ahead = Math.abs(difference) > 2000 ? difference : 0;
  }
}

export const present = () => Date.now() + ahead;

// now is the moment that the picture is of: ages are of then.
export const now = () => past || present();

export function setPast(at) {
  past = at;
  tick();
}

// moment reads a time of /mesh; NaN for one that is not known.
export function moment(stamp) {
  const at = Date.parse(stamp);
  return at > 0 ? at : NaN;
}

// span is a duration as people say it.
export function span(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  if (s < 48 * 3600) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} days`;
}

const clockForm = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const dayForm = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });

// clock is a moment by the reader's zone, with the day if that is not today.
export function clock(at) {
  if (Number.isNaN(at)) return 'an unknown time';
  const day = dayForm.format(at);
  return (day === dayForm.format(present()) ? '' : day + ' ') + clockForm.format(at);
}

// age is an element that says how long ago a moment was, and goes on saying so.
export function age(at, ending = '') {
  const element = make('time', {});
  element.ending = ending;
  setAge(element, at);
  return element;
}

export function setAge(element, at) {
  element.at = at;
  if (Number.isNaN(at)) {
    write(element, 'unknown');
    return;
  }
  const stamp = new Date(at).toISOString();
  setAttribute(element, 'datetime', stamp);
  setAttribute(element, 'title', stamp);
  write(element, span(now() - at) + element.ending);
}

// tick writes all ages anew. Those that read the same cost nothing.
export function tick() {
  for (const element of document.getElementsByTagName('time')) {
    if (element.at > 0 && element.ending !== undefined) {
      write(element, span(now() - element.at) + element.ending);
    }
  }
}

const stamps = /(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z)/;

// timed is a text in pieces, with the times in it by the reader's clock.
export function timed(text) {
  return text.split(stamps).map((piece, n) => {
    if (n % 2 === 0) return piece;
    return make('time', { datetime: piece, title: piece }, clock(moment(piece)));
  });
}
