// Notifications and the sound, for those who want them.

import { fragmentOf } from './text.js';

const TEXT_CHARACTERS = 200; // Of a message, in its notification.

/** Asks the browser where it is needed; gives what is in force then. */
export async function allowed(mode) {
	if (mode === 'off' || !globalThis.Notification) return 'off';
	return (await Notification.requestPermission()) === 'granted' ? mode : 'off';
}

export function notify({ eventId, room, name, text }, sound) {
	if (sound) beep();
	if (globalThis.Notification?.permission !== 'granted') return;
	try {
		const notification = new Notification(`${name} · #${room}`, { body: text.slice(0, TEXT_CHARACTERS), tag: eventId });
		notification.addEventListener('click', () => {
			window.focus();
			location.hash = fragmentOf(room);
			notification.close();
		});
	} catch {
		// Android's browsers refuse the constructor: the count in the title has to do.
	}
}

export function beep() {
	const context = new AudioContext();
	const [tone, volume] = [context.createOscillator(), context.createGain()];
	tone.frequency.value = 660;
	volume.gain.setValueAtTime(0.12, context.currentTime);
	volume.gain.exponentialRampToValueAtTime(0.001, context.currentTime + 0.3);
	tone.connect(volume).connect(context.destination);
	tone.start();
	tone.stop(context.currentTime + 0.3);
	tone.onended = () => context.close();
}
