// Small helpers for the document. Texts enter it as text nodes and attributes, never as HTML.

/** @type {(id: string) => any} */
export const $ = (id) => document.getElementById(id);

/**
 * @param {string} tag
 * @param {Record<string, any>} properties
 * @returns {any}
 */
export function element(tag, properties = {}, ...children) {
	const { dataset, ...others } = properties;
	const node = Object.assign(document.createElement(tag), others);
	Object.assign(node.dataset, dataset);
	node.append(...children);
	return node;
}

export const buttonOf = (textContent, onclick, className = 'plain') => element('button', { type: 'button', className, textContent, onclick });

// Screen readers would read an equal text again.
export function setText(node, text) {
	if (node.textContent !== String(text)) node.textContent = text;
}

/** Makes the children of `parent` stand for `items`, in order, and keeps those that stood for them before. */
export function syncList(parent, items, keyOf, build, refresh = (..._) => {}) {
	/** @type {any} */
	const focused = document.activeElement;
	const wanted = new Set(items.map(keyOf));
	const kept = new Map();
	for (const node of [...parent.children]) {
		if (wanted.has(node.syncKey)) kept.set(node.syncKey, node);
		else node.remove();
	}
	let next = parent.firstChild;
	for (const item of items) {
		const key = keyOf(item);
		const node = kept.get(key) ?? Object.assign(build(item), { syncKey: key });
		if (node === next) next = next.nextSibling;
		else parent.insertBefore(node, next);
		refresh(node, item);
	}
	if (parent.contains(focused)) focused.focus({ preventScroll: true }); // A node that moves loses it.
}

/** A name's first letter on its colour. The letter is generated content, so that it is not copied with a message. */
export function paint(avatar, name, hue) {
	avatar.dataset.letter = [...name][0]?.toUpperCase() ?? '';
	avatar.style.setProperty('--hue', hue);
	return avatar;
}

export const avatarOf = (name, hue) => paint(element('span', { className: 'avatar', ariaHidden: 'true' }), name, hue);

/** Copies a text, also where the page came by plain http and has no clipboard interface. */
export async function copyText(text) {
	if (navigator.clipboard) return navigator.clipboard.writeText(text);
	const field = element('textarea', { value: text, className: 'unseen' });
	document.body.append(field);
	field.select();
	document.execCommand('copy');
	field.remove();
}

export function translate(say) {
	document.documentElement.lang = say.language;
	for (const node of document.querySelectorAll('[data-words]')) node.textContent = say(/** @type {any} */ (node).dataset.words);
	for (const node of document.querySelectorAll('[data-label]')) node.ariaLabel = say(/** @type {any} */ (node).dataset.label);
	for (const node of document.querySelectorAll('[data-hint]')) /** @type {any} */ (node).placeholder = say(/** @type {any} */ (node).dataset.hint);
}
