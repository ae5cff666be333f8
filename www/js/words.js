// Words and dates in the reader's language.

// To add one, name it here and add a file. What it lacks is shown in English.
export const LANGUAGES = ['en', 'zh-Hans'];

/** @type {Record<string, any>} */
export const WORDS = {
	en: {
		rooms: 'Your rooms', otherRooms: 'Other rooms', people: 'People', messages: 'Messages',
		close: 'Close', pending: 'Not sent yet', otherRoom: 'Open or create a room', rename: 'Change name', yourName: 'Your name', join: 'Join', save: 'Save', cancel: 'Cancel',
		settings: 'Settings', language: 'Language',
		notifyOf: 'Notify me of', notifyOff: 'nothing', notifyMentions: 'mentions', notifyAll: 'all messages', sound: 'Play a sound',
		notNotified: 'This browser shows no notifications here. A sound still works.',
		message: 'Message', messageTo: 'Message {room}', send: 'Send', retry: 'Retry', discard: 'Discard', viaApi: 'via API',
		joinHelp: 'You are only reading. Choose a name to join the conversation.', renameHelp: 'Your earlier messages keep the old name.',
		composerHelp: 'Enter sends, Shift+Enter starts a new line.',
		over: { one: '{n} character too long', other: '{n} characters too long' }, split: 'Send as {n} messages', showAll: 'Show all {n} lines',
		badRoom: 'A room name has at most 64 characters without spaces and signs other than “-”, “_” and “.” (not first).',
		newest: 'Newest messages', newMessages: { one: '{n} new message', other: '{n} new messages' }, newLine: 'New since you left',
		unread: '{n} unread', mentioned: { one: '{n} mention', other: '{n} mentions' }, here: { one: '{n} person', other: '{n} people' },
		andMore: 'and {n} more', listening: '{n} reading', leave: 'Leave {room}',
		beginning: 'Nothing older is kept.', welcome: 'Welcome to {room}',
		empty: 'Nobody has written here yet. Say hello, or invite people.', emptyToReader: 'Nobody has written here yet. Choose a name below to begin.',
		samePerson: 'I am here on another device already', takeAlong: 'Use on another device', code: 'Code', goOn: 'Continue',
		codeBody: 'On the other device, open this link, or choose “I am here on another device already” there and enter this code. It works once, until {until}. Show it to nobody else: whoever uses it is you.',
		copyLink: 'Copy link', samePersonBody: 'There, choose “Use on another device” in the settings, and enter the code here. This device then goes on as the same person.',
		otherPerson: 'You stop being {name} on this device, and whoever made the code will be the same person as you.',
		invite: 'Invite people', copied: 'Copied', differentPerson: 'new device or another person',
		removed: { one: 'A message was removed.', other: '{n} messages were removed.' },
		private: 'Private room', newPrivate: 'New private room', label: 'Label, if you like', create: 'Create',
		privateHelp: 'Only people with the link can find this room.',
		leaveTitle: 'Leave {room}?', leaveNow: 'Leave', leaveBody: 'This device forgets the room. Only its link leads back to it.',
		leaveUnsent: 'Your messages there that are not sent yet are discarded.',
		gap: 'Messages may be missing here: the server no longer has them.',
		connecting: 'Connecting…', connected: 'Connected', waiting: 'Reconnecting', inSeconds: 'in {n} s', offline: 'Offline',
		closing: 'The server is closing', refused: 'Not connected', sending: 'Sending…', waitingFor: { one: '{n} message waits for the connection.', other: '{n} messages wait for the connection.' },
		waitingForServer: { one: '{n} message waits for the server.', other: '{n} messages wait for the server.' },
		rateLimited: 'Too many messages at once. Sent in {n} s.',
		logHelp: 'Enter selects a message.', actions: 'Message actions', reply: 'Reply', copy: 'Copy text', remove: 'Remove…', ban: 'Ban author…',
		removeTitle: 'Remove this message?', removeBody: '{name}’s message disappears for everyone in {room}. This cannot be undone.', removeNow: 'Remove',
		banTitle: 'Ban {name}?', banBody: '{name} is disconnected at once and can only read, in all rooms, until the ban ends.', banFor: 'Duration', banNow: 'Ban',
		banAddress: 'Ban the network address too', banMessages: 'Remove all messages of this author, for good',
		moderate: 'Log in as moderator', moderator: 'You are a moderator.', password: 'Moderator password', logIn: 'Log in', logOut: 'Stop moderating',
		banned: '{name} is banned.', gone: '{name} has left.', bans: 'Bans', noBans: 'Nobody is banned.', banLine: 'until {until}', banWithAddress: 'with address, until {until}', lift: 'Lift',
		// Other codes show the server's message.
		errors: {
			'name-taken': 'Someone here already uses the name “{name}”. Choose another, or try again later.',
			'too-many-streams': 'The server is full. Trying again automatically.',
			'too-many-requests': 'Too many requests from your network. Trying again automatically.',
			'too-many-attempts': 'Too many wrong passwords from your network. Try again in some minutes.',
			'password-required': 'A password is needed. Reload the page to enter it.',
			banned: 'A moderator has banned you until {until}. You can still read.',
			'wrong-code': 'That code was used, has ended, or never was. Get a new one on the other device.',
			'wrong-password': 'That is not the moderator password.',
		},
		otherError: 'The server refused this (status {status}).', noAnswer: 'The server did not answer. Try again.',
	},
};

// `zh-TW` is not `zh-Hans`.
function languageOf(tag) {
	try {
		const { language, script } = new Intl.Locale(tag).maximize();
		return [language, `${language}-${script}`].find((key) => LANGUAGES.includes(key));
	} catch {
		return undefined;
	}
}

export async function wordsFor(languages) {
	const locale = languages.find(languageOf) ?? 'en';
	const language = languageOf(locale) ?? 'en';
	try {
		WORDS[language] ??= (await import(new URL(`words.${language}.js`, import.meta.url).href)).default;
	} catch {
		return wordsFor(['en']);
	}
	const plural = new Intl.PluralRules(language);
	const fill = (words, values) => words.replace(/\{(\w+)}/g, (_, key) => values[key]);
	const say = (key, values = {}) => {
		const found = WORDS[language][key] ?? WORDS.en[key];
		return fill(typeof found === 'string' ? found : found[plural.select(values.n)] ?? found.other, values);
	};
	const format = (options) => new Intl.DateTimeFormat(locale, options).format;
	const [time, date, full] = [{ timeStyle: 'short' }, { dateStyle: 'full' }, { dateStyle: 'full', timeStyle: 'medium' }].map(format);
	const relative = new Intl.RelativeTimeFormat(locale, { numeric: 'auto' });
	const unit = (name) => new Intl.NumberFormat(locale, { style: 'unit', unit: name, unitDisplay: 'long' }).format(1);

	const day = (millis) => {
		const [then, today] = [millis, Date.now()].map((moment) => new Date(moment).setHours(0, 0, 0, 0));
		const days = Math.round((then - today) / 86_400_000);
		return days === 0 || days === -1 ? relative.format(days, 'day') : date(millis);
	};
	const error = ({ code, message, status, name, until }) => {
		const known = WORDS[language].errors[code] ?? WORDS.en.errors[code];
		if (known) return fill(known, { name, until: until ? full(until) : '…' });
		return message || say(status ? 'otherError' : 'noAnswer', { status });
	};
	return Object.assign(say, { language, locale, time, full, unit, day, error });
}
