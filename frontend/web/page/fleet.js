// What is known of the fleet, by what the frontend said last. It notes what changed, so that only that is drawn anew.
import { kindOf, remarkOn, wordOf, kinds, withdrawnBy } from './verdicts.js';
import { plain } from './plain.js';

// Instance is one instance as it stands. Ids are strings: they exceed what a number can hold.
class Instance {
  constructor(endpoint, id) {
    this.endpoint = endpoint;
    this.id = id;
    this.key = keyOf(endpoint, id);
  }

  set(data) {
    this.data = data;
    this.kind = kindOf(data);
    this.words = null;
    this.withdrawn = withdrawnBy(data);
    this.serves = (data.models ?? []).map(modelOf);
  }

  // name is what people call it: the host, where one is known.
  get name() {
    return plain(this.data.worker?.host || this.id, 60);
  }

  // text is what a filter looks through.
  get text() {
    if (this.words === null) {
      const { verdict, worker, registered } = this.data;
      const labels = Object.entries(worker?.labels ?? {}).map(([k, v]) => `${k}=${v}`);
      this.words = [this.id, this.endpoint, verdict, wordOf(verdict), this.kind.word, registered ? '' : 'unregistered',
        this.data.cause ?? '', worker?.host, worker?.version, ...(this.withdrawn.length > 0 ? ['withdrawn', ...this.withdrawn] : []), ...this.serves, ...labels].join('\n').toLowerCase();
    }
    return this.words;
  }
}

// keyOf names an instance for as long as the page lives. An id has no line end, so no two give the same.
export const keyOf = (endpoint, id) => `${endpoint}\n${id}`;

// modelOf names a model in a role, as expectations do.
export const modelOf = ({ model, worker_type: role }) => `model:${model}${role ? `/${role}` : ''}`;

// Ids are hexadecimal without padding: the longer is the greater.
const byID = (a, b) => a.id.length - b.id.length || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);

export class Fleet {
  head = null; // discovery, gossip, causes, warnings; null until something is known
  endpoints = new Map(); // by name, in the frontend's order: {name, instances: sorted}
  instances = new Map(); // by key
  aside = new Map(); // by key, {endpoint, id, data}: their workers serve models, and none there, and they are seen with those
  members = new Map(); // by id
  expectations = [];
  changed = new Set(); // keys of instances that are not as they were drawn
  moved = new Set(); // names of endpoints whose list of instances is another

  get(endpoint, id) {
    return this.instances.get(keyOf(endpoint, id));
  }

  setHead(head) {
    this.head = { ...this.head, ...head };
  }

  setMembers(members) {
    this.members = new Map(members.map((m) => [m.id, m]));
  }

  // replace takes a whole picture.
  replace(endpoints) {
    const before = this.endpoints;
    const gone = new Set(this.instances.keys());
    this.endpoints = new Map();
    this.aside = new Map();
    for (const { endpoint, instances } of endpoints) {
      if (instances.length > 0 && instances.every((i) => i.auxiliary)) {
        for (const data of instances) this.aside.set(keyOf(endpoint, data.id), { endpoint, id: data.id, data });
        continue;
      }
      if (!this.endpoints.has(endpoint)) {
        this.endpoints.set(endpoint, before.get(endpoint) ?? { name: endpoint, instances: [] });
        if (!before.has(endpoint)) this.moved.add(endpoint);
      }
      for (const data of instances) {
        this.put(endpoint, data);
        gone.delete(keyOf(endpoint, data.id));
      }
    }
    for (const key of gone) {
      const instance = this.instances.get(key);
      this.endpoints.has(instance.endpoint) ? this.remove(instance.endpoint, instance.id) : this.instances.delete(key);
    }
    for (const name of before.keys()) {
      if (!this.endpoints.has(name)) this.moved.add(name);
    }
  }

  // group returns an endpoint, which may have no instances: some are expected, and not there.
  group(endpoint) {
    let group = this.endpoints.get(endpoint);
    if (!group) {
      group = { name: endpoint, instances: [] };
      this.endpoints.set(endpoint, group);
      this.endpoints = new Map([...this.endpoints].sort(([a], [b]) => (a < b ? -1 : 1)));
      this.moved.add(endpoint);
    }
    return group;
  }

  put(endpoint, data) {
    const key = keyOf(endpoint, data.id);
    if (data.auxiliary) {
      this.remove(endpoint, data.id);
      if (this.endpoints.get(endpoint)?.instances.length === 0) this.drop(endpoint);
      this.aside.set(key, { endpoint, id: data.id, data });
      return;
    }
    this.aside.delete(key);
    let instance = this.instances.get(key);
    if (!instance) {
      instance = new Instance(endpoint, data.id);
      this.instances.set(key, instance);
      insert(this.group(endpoint).instances, instance);
      this.moved.add(endpoint);
    }
    instance.set(data);
    this.changed.add(key);
  }

  remove(endpoint, id) {
    const key = keyOf(endpoint, id);
    this.aside.delete(key);
    const instance = this.instances.get(key);
    if (!instance) return;
    this.instances.delete(key);
    const group = this.endpoints.get(endpoint);
    group.instances.splice(group.instances.indexOf(instance), 1);
    this.changed.add(key);
    this.moved.add(endpoint);
  }

  // drop removes an endpoint with all that it has.
  drop(endpoint) {
    for (const { id } of [...(this.endpoints.get(endpoint)?.instances ?? [])]) this.remove(endpoint, id);
    for (const [key, one] of this.aside) if (one.endpoint === endpoint) this.aside.delete(key);
    this.endpoints.delete(endpoint);
    this.moved.add(endpoint);
  }

  changeMembers(changed, gone) {
    for (const member of changed) this.members.set(member.id, member);
    for (const id of gone) this.members.delete(id);
  }

  // asideOf returns what else a worker has registered, by endpoint.
  asideOf(id) {
    return [...this.aside.values()].filter((one) => one.id === id).sort((a, b) => (a.endpoint < b.endpoint ? -1 : 1));
  }

  // take returns what changed since it was called last.
  take() {
    const taken = { changed: this.changed, moved: this.moved };
    this.changed = new Set();
    this.moved = new Set();
    return taken;
  }

  // tally counts an endpoint's instances, or all of them. As in /mesh, counts are of those that are registered.
  tally(instances = this.instances.values()) {
    const counts = { all: 0, registered: 0, unregistered: 0, up: 0, withdrawn: 0, remarks: {} }; // remarks: by their word, of those that are up
    for (const { name } of kinds) counts[name] = 0;
    for (const { data, kind, withdrawn } of instances) {
      counts.all++;
      if (withdrawn.length > 0) counts.withdrawn++;
      counts[kind.name]++;
      if (data.registered) {
        counts.registered++;
        if (data.verdict !== 'ready') continue;
        counts.up++;
        const remark = remarkOn(data);
        if (remark !== '') counts.remarks[remark] = (counts.remarks[remark] ?? 0) + 1;
      } else {
        counts.unregistered++;
      }
    }
    return counts;
  }
}

// insert keeps a list in order. New ones mostly come last, in a first list always.
function insert(list, instance) {
  let low = 0;
  let high = list.length;
  if (high > 0 && byID(list[high - 1], instance) < 0) low = high;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (byID(list[middle], instance) < 0) low = middle + 1;
    else high = middle;
  }
  list.splice(low, 0, instance);
}
