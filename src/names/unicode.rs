//! What Unicode says of characters and the standard library does not.

/// Whether a character leaves no mark on the screen: Unicode's property
/// `Default_Ignorable_Code_Point`, variation selectors among it.
pub(super) fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a character makes one name look like another, or like none: controls, line
/// separators, format characters (zero-width, bidi; general category `Cf`), blanks, what stands for
/// something that is missing, what is nobody's (noncharacters and those for private use), and
/// compatibility ideographs.
pub(super) fn is_deceptive(c: char) -> bool {
    c.is_control()
        || is_compatibility_ideograph(c)
        || u32::from(c) & 0xfffe == 0xfffe
        || matches!(c,
            '\u{2028}' | '\u{2029}'
            | '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}' | '\u{8e2}'
            | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}'
            | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}' | '\u{fdd0}'..='\u{fdef}'
            | '\u{fffc}' | '\u{16fe4}' | '\u{1bc9d}'
            | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}' | '\u{1d159}')
}

/// Whether a character is there for the sake of older standards alone and looks like another, into
/// which Unicode's normalization turns it: the blocks of compatibility ideographs, but for the twelve in
/// them that are ideographs of their own.
pub(super) fn is_compatibility_ideograph(c: char) -> bool {
    let own = "\u{fa0e}\u{fa0f}\u{fa11}\u{fa13}\u{fa14}\u{fa1f}\u{fa21}\u{fa23}\u{fa24}\u{fa27}\u{fa28}\u{fa29}";
    matches!(c, '\u{f900}'..='\u{faff}' | '\u{2f800}'..='\u{2fa1f}') && !own.contains(c)
}
