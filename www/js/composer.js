// The message field, and the form in which one chooses a name.

import { completionsAt, isRoomName } from './text.js';
import { PENDING_MOST } from './network.js';
import { $, setText } from './browser.js';

const TEXT_BYTES = 4096; // Of a message, as the server has it by default.
const COUNTED_BYTES = 500; // Left, from which on they are shown.

// The keyboard on a screen has no Shift+Enter: there Enter starts a line.
const [touch, mouse] = ['(pointer: coarse)', '(any-pointer: fine)'].map((query) => matchMedia(query));
export const typesOnScreen = () => touch.matches && !mouse.matches;

export const focusWriting = () => ($.join.hidden ? $.text : $.name).focus();

export function drawComposer({ chat, say, naming, nameError }) {
	const usable = isRoomName(chat.open);
	const text = $.text;
	$.join.hidden = !usable || !(naming || !chat.name);
	$.composer.hidden = !usable || !(chat.name || text.value || document.activeElement === text);
	$.joinCancel.hidden = !chat.name;
	setText($.nameHelp, nameError ? say.error(nameError) : say(chat.name ? 'renameHelp' : 'joinHelp'));
	$.nameHelp.classList.toggle('problem', Boolean(nameError));
	$.name.ariaInvalid = nameError ? 'true' : null;
	text.placeholder = say('messageTo', { room: chat.open });
	text.enterKeyHint = typesOnScreen() ? 'enter' : 'send';
	$.grow.dataset.text = `${text.value}\u200b`; // Gives the field its height.
	const left = TEXT_BYTES - new TextEncoder().encode(text.value.trimEnd()).length;
	$.send.disabled = left < 0 || !text.value.trim() || !chat.name || chat.pending.length >= PENDING_MOST;
	const counter = left < 0 ? say('over', { n: -left }) : say('left', { n: left });
	setText($.composerHelp, left < COUNTED_BYTES ? counter : typesOnScreen() ? '' : say('composerHelp'));
	$.composerHelp.classList.toggle('problem', left < 0);
}

/** Replaces the text from `from` to the caret. `after` matches what has to stand before. */
export function insert(text, { from = $.text.selectionStart, after = /$/ } = {}) {
	const field = $.text;
	field.focus();
	const before = field.value.slice(0, from);
	field.setSelectionRange(from, field.selectionEnd);
	// Nothing else keeps the browser's undo.
	document.execCommand('insertText', false, (!before || after.test(before) ? '' : text.startsWith('>') ? '\n' : ' ') + text);
}

/** `names` gives what Tab completes, the likeliest first. */
export function listenToText(send, names) {
	const field = $.text;
	/** @type {any} */
	let last = null; // The completion that another Tab replaces.

	function complete() {
		const caret = field.selectionStart;
		const again = last?.value === field.value && last.end === caret;
		const found = again ? last : { ...completionsAt(field.value, caret, names()), at: -1 };
		if (found.names.length <= Number(again)) return false;
		const at = (found.at + 1) % found.names.length;
		insert(`${found.names[at]} `, { from: found.from });
		last = { ...found, at, end: field.selectionStart, value: field.value };
		return true;
	}

	field.addEventListener('keydown', (event) => {
		const { key, shiftKey, ctrlKey, metaKey, altKey, isComposing, keyCode } = event;
		// Enter takes the suggestion of an input method. Safari ends the composition first: it has 229.
		if (isComposing || keyCode === 229 || shiftKey || altKey) return;
		const modified = ctrlKey || metaKey;
		const sends = key === 'Enter' && (modified || !typesOnScreen());
		if (sends || (key === 'Tab' && !modified && complete())) event.preventDefault();
		if (sends) send();
	});
}
