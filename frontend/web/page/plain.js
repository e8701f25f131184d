// Text from elsewhere, made fit to be read. It is written by textContent in any case; this is about what a font would hide,
// turn around or pile up.

// Controls, marks of direction, joiners, private use, lone surrogates; separators of lines and paragraphs.
const odd = /[\p{C}\p{Zl}\p{Zp}]/gu;
// A tower of combining marks covers the lines above.
const tower = /(\p{M}{2})\p{M}+/gu;
const simple = /^[\x20-\x7e]*$/;

const code = (c) => `\\u{${c.codePointAt(0).toString(16)}}`;

// plain returns text of at most limit characters or so, in which everything can be seen. Ten kilobytes of name say how long
// they are.
export function plain(text, limit = 120) {
  let s = String(text ?? '');
  let more = '';
  if (s.length > limit) {
    more = `… (${number(s.length)} characters)`;
    s = s.slice(0, limit);
  }
  return (simple.test(s) ? s : s.replace(odd, code).replace(tower, '$1')) + more;
}

const format = new Intl.NumberFormat('en');

export function number(n) {
  return format.format(n);
}

export function count(n, one, many = one + 's') {
  return `${number(n)} ${n === 1 ? one : many}`;
}

// bare is an endpoint's name without the scheme, which all of them have.
export function bare(endpoint) {
  return endpoint.startsWith('dyn://') ? endpoint.slice(6) : endpoint;
}
