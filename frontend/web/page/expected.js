// What is expected of the fleet, held against it. What is expected comes from /ready, once; that it holds changes with each
// change of the fleet.

// outcomes returns each expectation with have, registered and ok, as /ready has them.
export function outcomes(fleet) {
  return fleet.expectations.map(({ endpoint, want, verified }) => {
    const { named, serves } = reader(endpoint);
    let have = 0;
    let registered = 0;
    for (const [name, { instances }] of fleet.endpoints) {
      if (!named(name)) continue;
      for (const { data } of instances) {
        if (!data.registered || !serves(data)) continue;
        registered++;
        if (data.verdict === 'ready' && (data.verified || !verified)) have++;
      }
    }
    return { endpoint, want, verified, have, registered, ok: have >= want };
  });
}

// reader says which endpoints are meant, and which instances of them: dyn://namespace.component.endpoint, or model:name/role.
function reader(pattern) {
  if (pattern.startsWith('model:')) {
    const [, name, role] = pattern.match(/^model:(.*?)(?:\/(aggregated|prefill|decode|encode))?$/);
    const [ofName, ofRole] = [glob(name), glob(role ?? '*')];
    return { named: () => true, serves: ({ models }) => models?.some((m) => ofName(m.model) && ofRole(m.worker_type ?? '')) };
  }
  const wanted = pattern.split('.').map(glob);
  return {
    named: (name) => {
      const parts = name.split('.');
      return pattern === name || wanted.length === parts.length && wanted.every((fits, n) => fits(parts[n]));
    },
    serves: () => true,
  };
}

// glob says whether a text fits a pattern, in which * stands for any characters.
function glob(pattern) {
  const literal = (text) => text.replace(/[.+?^${}()|[\]\\]/g, '\\$&');
  const expression = new RegExp(`^${pattern.split('*').map(literal).join('[^]*')}$`);
  return (text) => expression.test(text);
}
