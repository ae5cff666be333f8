// What the page uses of the browser. Texts enter the document as text nodes, never as HTML.

/** The elements with an id, as `$.ownName` for `own-name`. @type {Record<string, any>} */
export const $ = new Proxy({}, {
	get: (_, key) => document.getElementById(String(key).replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)),
});

/** Makes an element of a `tag.class`. @returns {any} */
export function element(what, properties = /** @type {any} */ ({}), ...children) {
	const [tag, ...classes] = what.split('.');
	const { dataset, ...others } = properties;
	const node = Object.assign(document.createElement(tag), tag === 'button' && { type: 'button' }, others);
	node.classList.add(...classes);
	Object.assign(node.dataset, dataset);
	node.append(...children);
	return node;
}

// Screen readers would read an equal text again.
export function setText(node, text) {
	if (node.textContent !== String(text)) node.textContent = text;
}

/** Makes the children of `parent` stand for `items`, and keeps those that did before. */
export function syncList(parent, items, keyOf, build, refresh = (..._) => {}) {
	/** @type {any} */
	const focused = document.activeElement;
	const kept = new Map([...parent.children].map((node) => [node.syncKey, node]));
	const nodes = items.map((item) => {
		const syncKey = keyOf(item);
		const node = kept.get(syncKey) ?? Object.assign(build(item), { syncKey });
		kept.delete(syncKey);
		refresh(node, item);
		return node;
	});
	for (const node of kept.values()) node.remove();
	for (const [at, node] of nodes.entries()) if (parent.children[at] !== node) parent.insertBefore(node, parent.children[at]);
	if (parent.contains(focused)) focused.focus({ preventScroll: true }); // A node that moves loses it.
}

/** The letter is generated content, so that it is not copied with a message. */
export function paint(avatar, name, hue) {
	avatar.dataset.letter = [...name][0]?.toUpperCase() ?? '';
	avatar.style.setProperty('--hue', hue);
	return avatar;
}

export const avatarOf = (name, hue) => paint(element('span.avatar', { ariaHidden: 'true' }), name, hue);

export function translate(say) {
	document.documentElement.lang = say.language;
	for (const [key, property] of [['words', 'textContent'], ['label', 'ariaLabel'], ['hint', 'placeholder']]) {
		for (const node of document.querySelectorAll(`[data-${key}]`)) node[property] = say(node.getAttribute(`data-${key}`));
	}
}

/** Where the browser refuses storage, it lasts as long as the page is open. */
export function openStorage(area, prefix) {
	const memory = new Map();
	const attempt = (action) => {
		try {
			return action(globalThis[area]);
		} catch {
			return undefined;
		}
	};
	return {
		get: (key) => attempt((storage) => JSON.parse(storage.getItem(prefix + key))) ?? memory.get(key),
		set(key, value) {
			if (!attempt((storage) => storage.setItem(prefix + key, JSON.stringify(value)) ?? true)) memory.set(key, value);
		},
	};
}

/** A page over plain HTTP has no `navigator.clipboard`. */
export async function copyText(value) {
	if (navigator.clipboard) return navigator.clipboard.writeText(value);
	const field = element('textarea', { value, className: 'unseen' });
	document.body.append(field);
	field.select();
	document.execCommand('copy');
	field.remove();
}

export function notify(title, body, tag, onclick) {
	if (globalThis.Notification?.permission !== 'granted') return;
	try {
		new Notification(title, { body, tag }).addEventListener('click', onclick);
	} catch {
		// Browsers on Android refuse the constructor.
	}
}

export function beep() {
	const context = new AudioContext();
	const tone = context.createOscillator();
	tone.connect(context.destination);
	tone.onended = () => context.close();
	tone.start();
	tone.stop(context.currentTime + 0.1);
}
