// Elements, made and kept in step with data. Nothing here, or elsewhere in the page, takes a string for markup.

// make makes an element: attributes by name, text and elements as children.
export function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const name in attributes) {
    element.setAttribute(name, attributes[name]);
  }
  element.append(...children.filter((c) => c !== null && c !== undefined));
  return element;
}

// soft is a name in pieces that may be parted: better after a dot than anywhere.
export function soft(name) {
  return name.split(/(?<=[./])/).flatMap((piece, n) => (n === 0 ? [piece] : [make('wbr', {}), piece]));
}

export const byID = (id) => document.getElementById(id);

// write sets an element's text. It touches the document only when the text is another, because each touch costs a layout.
export function write(element, text) {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}

export function setClass(element, name) {
  if (element.className !== name) {
    element.className = name;
  }
}

export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) {
    element.setAttribute(name, value);
  }
}

// keep makes the children of parent those of items, in order: it keeps the element of each key, makes what is new by
// create, removes what is gone, and moves only what stands elsewhere. update is called for all.
export function keep(parent, items, keyOf, create, update) {
  const elements = (parent.kept ??= new Map());
  const wanted = new Set(items.map(keyOf));
  for (const [key, element] of elements) {
    if (!wanted.has(key)) {
      element.remove();
      elements.delete(key);
    }
  }
  let at = parent.firstChild;
  for (const item of items) {
    const key = keyOf(item);
    let element = elements.get(key);
    if (!element) {
      element = create(item);
      elements.set(key, element);
      parent.insertBefore(element, at);
    } else if (element === at) {
      at = at.nextSibling;
    } else if (parent.moveBefore) {
      parent.moveBefore(element, at); // keeps the focus, where the browser can
    } else {
      parent.insertBefore(element, at);
    }
    update?.(element, item);
  }
}
