"""Texts and nouns: is the noun one of the text's words? Python and the page must agree."""

CASES = [
    ("a dog on grass", "dog", True),
    ("A DOG!", "dog", True),
    ("the dog's ball", "dog", True),
    ("dog, cat", "dog", True),
    ("dog/cat", "dog", True),
    ("a dog - on grass", "dog", True),
    ("a dog\u2014on grass", "dog", True),
    ("a hot-dog", "dog", False),
    ("a dog-shaped cloud", "dog", False),
    ("a hot\u2011dog", "dog", False),
    ("a hot\u00addog", "dog", False),
    ("a hot-dog and a dog", "dog", True),
    ("a hotdog", "dog", False),
    ("a dogged man", "dog", False),
    ("dog2, white_dog", "dog", False),
    ("a red t-shirt", "shirt", False),
    ("a red T-Shirt", "t-shirt", True),
    ("a teddy  bear", "teddy bear", True),
    ("a c++ book", "c++", True),
    ("l'homme", "homme", True),
    ("a cafe\u0301", "cafe", False),  # café, its accent a letter of its own
    ("\u092f\u0939 \u0915\u0941\u0924\u094d\u0924\u093e \u0939\u0948", "\u0915\u0941\u0924\u094d\u0924\u093e", True),  # Hindi
    ("\u0915\u0941\u0924\u094d\u0924\u093e", "\u0915\u0941\u0924", False),  # its first letters alone
    ("\u0633\u06af\u200c\u0647\u0627", "\u0633\u06af", False),  # Persian: dogs, its ending after an invisible joiner
    ("一只小狗在草地上", "小狗", True),
    ("一只dog在草地上", "dog", True),
    ("芝生の上の犬が寝ている", "犬", True),
    ("コーヒーカップがある", "カップ", True),
    ("강아지가 풀밭에 있다", "강아지", True),
    ("หมาสีน้ำตาลบนหญ้า", "หมา", True),
    ("แม่", "แม", False),  # its tone mark belongs to the letter
    ("一只猫", "小狗", False),
]
