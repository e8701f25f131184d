// What is said aloud to those who do not see the page: now and then, in one sentence, and only what has become different.
import { byID, write } from './dom.js';
import { number } from './plain.js';

const pause = 10000; // ms between two sentences

let said = '';
let next = '';
let resting = 0;

// say has a sentence said, unless a later one comes before its turn.
export function say(sentence) {
  if (said === '') said = sentence; // the first picture is there to be read
  next = sentence;
  if (resting === 0) speak();
}

function speak() {
  resting = 0;
  if (next === said) return;
  said = next;
  write(byID('voice'), said);
  resting = setTimeout(speak, pause);
}

export function sentence(total, unlucky, live) {
  if (!live) return 'The frontend does not answer. The picture is old.';
  return `${number(total.up)} of ${number(total.registered)} ready. ${unlucky === 0 ? 'Everyone is well.' : `${number(unlucky)} not well.`}`;
}
