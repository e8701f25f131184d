// The kinds of instances as the page shows them: the verdicts, and of the ready ones apart those that nobody vouches for.
// Each has a word and a shape besides a colour; glyphs.css has the shapes.

// From the worst to the best: that is the order in which they are shown.
export const kinds = [
  { name: 'unreachable', word: 'unreachable', meaning: 'its process is gone, or out of reach' },
  { name: 'notready', word: 'not ready', meaning: 'it is there and cannot serve' },
  { name: 'draining', word: 'draining', meaning: 'it takes no new requests and will leave' },
  { name: 'unverified', word: 'unverified', meaning: 'ready, though no canary or request vouches for it' },
  { name: 'ready', word: 'ready', meaning: 'ready, and verified by a canary or by real requests' },
];

const known = new Map(kinds.map((kind, rank) => [kind.name, { ...kind, rank }]));
const words = { notready: 'not ready' };

// An instance that changed so often within ten minutes is unsteady, whatever it is at the moment: it was down twice.
export const manyFlaps = 4;

// kindOf returns the kind of an instance of /mesh. A verdict of a later version shows as what it is called.
export function kindOf(data) {
  const name = data.verdict === 'ready' && !data.verified ? 'unverified' : data.verdict;
  return known.get(name) ?? { name: 'notready', word: String(data.verdict), rank: 1 };
}

// wordOf is a verdict in words.
export function wordOf(verdict) {
  return words[verdict] ?? String(verdict);
}

// unsteady instances are ready now, but not for long by what they did before.
export function unsteady(data) {
  return data.verdict === 'ready' && data.flaps >= manyFlaps;
}

// unwell says whether an instance belongs among those that need a look.
export function unwell(data) {
  return data.verdict !== 'ready' || !data.registered || data.flaps >= manyFlaps || withdrawnBy(data).length > 0 || remarkOn(data) !== '';
}

// remarkOn says in a word what is remarked on an instance: that it differs from its peers, or fails in part. Empty: nothing.
export function remarkOn({ remarks }) {
  return remarks?.length > 0 ? remarked[remarks[0].kind] ?? 'remarked on' : '';
}

const remarked = { answers: 'suspect', slow: 'slow', failures: 'fails in part' };

// remarkCounts says how many of those that are ready are remarked on, in a word or two each. Empty: none.
export function remarkCounts(counts) {
  return [...Object.values(remarked), 'remarked on'].filter((word) => counts[word] > 0).map((word) => [counts[word], word]);
}

// withdrawnBy names the outputs that have told routers to send an instance nothing new, or would have.
export function withdrawnBy({ outputs }) {
  if (!outputs) return none;
  return [...new Set(outputs.filter((o) => o.state === 'out' || o.state === 'draining').map((o) => o.output))];
}

const none = [];
