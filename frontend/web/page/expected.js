// What is expected of the fleet, held against it. What is expected comes from /ready, once; that it holds changes with each
// change of the fleet.

// outcomes returns each expectation with have, registered and ok. An endpoint may have * for a whole part.
export function outcomes(fleet) {
  return fleet.expectations.map(({ endpoint, want, verified }) => {
    let have = 0;
    let registered = 0;
    for (const [name, { instances }] of fleet.endpoints) {
      if (!matches(endpoint, name)) continue;
      for (const { data } of instances) {
        if (!data.registered) continue;
        registered++;
        if (data.verdict === 'ready' && (data.verified || !verified)) have++;
      }
    }
    return { endpoint, want, verified, have, registered, ok: have >= want };
  });
}

function matches(pattern, name) {
  if (pattern === name) return true;
  const wanted = pattern.slice('dyn://'.length).split('.');
  const parts = name.slice('dyn://'.length).split('.');
  return wanted.length === parts.length && wanted.every((w, n) => w === '*' || w === parts[n]);
}
